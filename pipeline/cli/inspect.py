"""Tasks that show what is there and compute nothing: comps, show, cache, augmented."""

from typing import Any

from invoke import Context, task

from pipeline.cli.common import build_help, handle_errors, load_competition, parse_int, parse_size


@task(positional=[], auto_shortflags=False)
def comps(_: Context) -> None:
    """List the competitions: metric, classes, pictures, and where the data stands."""
    with handle_errors():
        import competitions
        from pipeline import paths
        from pipeline.files import read_json
        from pipeline.kaggle.download import format_status

        print(f"{'name':<18} {'metric':<16} {'classes':>7} {'train':>7} {'test':>7}  data")
        for name in competitions.names():
            found = competitions.find(name)
            counts = read_json(paths.competition_folder(found.name) / "summary.json") or {}
            shown = [f"{counts[key]:,}" if key in counts else "?" for key in ("classes", "train", "test")]
            print(f"{name:<18} {found.metric:<16} {shown[0]:>7} {shown[1]:>7} {shown[2]:>7}  {format_status(found)}")


@task(positional=[], auto_shortflags=False, iterable=["base"], help=build_help("comp", "base", "size", "head", "rung"))
def show(
    _: Context,
    comp: str | None = None,
    base: Any = None,
    size: str | None = None,
    head: str | None = None,
    rung: str | None = None,
) -> None:
    """Print a competition's resolved recipe; how its rung trains a network, with every default in its place."""
    with handle_errors():
        from dataclasses import asdict

        from pipeline.models.base import parse_base

        competition = load_competition(comp, bases=tuple(base or ()), size=parse_size(size), head=head, rung=rung)
        shown = asdict(competition)
        recipe, trains = competition.recipe, competition.recipe.rung != "features"
        del shown["recipe"]["training"]
        shown["training"] = asdict(recipe.training.resolved(recipe.rung)) if trains else "none, by a head on features"
        for section, values in shown.items():
            for key, value in values.items() if isinstance(values, dict) else [("", values)]:
                print(f"{section + ('.' + key if key else ''):<24} {value}")
        for text in competition.recipe.bases:
            resolved = parse_base(text, competition.recipe.size)
            said = f"{resolved.size} px, cut {resolved.cut or 'none'}, pooling {resolved.pooling}"
            said += f", {'the drawn world' if resolved.entry.ours and resolved.published else resolved.weights} weights"
            print(f"{'base ' + resolved.name:<24} {said}")
        print(f"{'fingerprint':<24} {competition.fingerprint()[:16]}")


@task(
    positional=[],
    auto_shortflags=False,
    iterable=["prune"],
    help=build_help(
        verify="check every row's checksum, compute a few of each shard again, and check exported networks",
        prune="remove a store, by its key, or strays",
    ),
)
def cache(_: Context, verify: bool = False, prune: Any = None) -> None:
    """Show the cache; --verify checks it, --prune KEY (or `strays`) removes from it."""
    with handle_errors():
        from pipeline.errors import StarshiftError
        from pipeline.features import cache as kept

        if prune:
            print(f"freed {kept.prune_stores(list(prune)) / 1e6:,.1f} MB")
        states, removed = _verify_cache() if verify else ({}, [])
        listed = kept.list_entries()
        for entry in listed:
            state = states.get(entry.store.key, "")
            print(
                f"{entry.store.key}  {entry.bytes / 1e6:>9,.1f} MB  {entry.rows:>8,} rows  {entry.description}{state}"
            )
        total = kept.summarize_entries(listed)
        print(f"{total['stores']} stores, {total['rows']:,} rows, {total['bytes'] / 1e6:,.1f} MB")
        if removed:
            raise StarshiftError(
                f"The cache was damaged: {', '.join(removed)} removed.",
                expected="rows with their checksums and the values that their base gives, networks with their digests",
                received="; ".join(removed),
                remedy="nothing is lost: the next run computes them again",
            )


def _verify_cache() -> tuple[dict[str, str], list[str]]:
    """Verifies the whole cache. Returns what to say of each store, by its key, and what was removed."""
    from pipeline.features import cache as kept
    from pipeline.features.recheck import recheck_entry, remove_damaged_exports

    states, counts = dict[str, str](), {"damaged shards": 0, "shards of wrong values": 0}
    for entry in sorted(kept.list_entries(), key=lambda entry: entry.description):
        damaged, found = kept.verify_entry(entry), recheck_entry(entry)
        counts["damaged shards"] += len(damaged)
        counts["shards of wrong values"] += len(found.wrong)
        gone = len(damaged) + len(found.wrong)
        states[entry.store.key] = (
            f"  {gone} damaged shards removed" if gone
            else f"  whole; values not checked: {found.skipped}" if found.skipped else "  whole"
        )  # fmt: skip
    counts["exported networks"] = len(remove_damaged_exports())
    return states, [f"{count} {what}" for what, count in counts.items() if count]


@task(
    positional=[],
    auto_shortflags=False,
    help=build_help(
        *("comp", "size"),
        pictures="how many, one a row",
        views="how many augmentations of each",
        seed="draws the pictures",
    ),
)
def augmented(
    _: Context,
    comp: str | None = None,
    pictures: str = "8",
    views: str = "8",
    size: str | None = None,
    seed: str | None = None,
) -> None:
    """Draw a sheet of what training will see: pictures and their augmented views."""
    with handle_errors():
        competition = load_competition(comp, seed=parse_int(seed, "--seed"))
        from pipeline import paths
        from pipeline.figures.augmentations import write_sheet

        rows, columns = parse_int(pictures, "--pictures") or 0, parse_int(views, "--views") or 0
        path = write_sheet(competition, pictures=rows, views=columns, size=parse_int(size, "--size"))
        print(f"wrote {paths.format_path(path)}")
