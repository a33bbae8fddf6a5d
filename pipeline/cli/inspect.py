"""Tasks that show what is there or export it: comps, show, check, init, cache, disk, compare, report, export, ..."""

from typing import Any

from invoke import Context

from pipeline.cli.common import (
    command,
    load_competition,
    log_written,
    parse_number,
    parse_numbers,
    parse_page,
    parse_path,
    parse_size,
)


@command(json=True)
def comps(_: Context) -> None:
    """List the competitions: metric, classes, pictures, and where the data stands."""
    import competitions
    from pipeline import paths
    from pipeline.figures.text_table import format_records
    from pipeline.files import read_json
    from pipeline.kaggle.download import format_status
    from pipeline.output import print_results

    records = []
    for name in competitions.names():
        competition = competitions.find(name)
        summary = read_json(paths.competition_folder(competition.name) / "summary.json") or {}
        counts = {key: summary.get(key) for key in ("classes", "train", "test")}
        records.append({"name": name, "metric": competition.metric, **counts, "data": format_status(competition)})
    columns = {"name": "{name}", "metric": "{metric}", "classes": "{classes:,}", "train": "{train:,}",
               "test": "{test:,}", "data": "{data}"}  # fmt: skip
    print_results({"competitions": records}, format_records(records, columns), apart=False)


@command(json=True)
def show(
    _: Context,
    comp: str | None = None,
    base: tuple[str, ...] = (),
    size: str | None = None,
    head: str | None = None,
    strategy: str | None = None,
    recipe: str | None = None,
    set_: tuple[str, ...] = (),
) -> None:
    """Print a competition's resolved recipe; how its strategy trains a network, with every default in its place."""
    from dataclasses import asdict

    import competitions
    from pipeline.figures.text_table import format_records
    from pipeline.models.base import parse_base
    from pipeline.output import print_results
    from pipeline.runs.folder import flatten_mapping

    competition = load_competition(comp, recipe, set_, bases=base, size=parse_size(size), head=head, strategy=strategy)
    resolved, document = competition.recipe, asdict(competition)
    del document["recipe"]["training"]
    document["training"] = None if resolved.strategy == "features" else asdict(resolved.resolved_training)
    document["other_recipes"] = list(competitions.list_recipes(comp))
    document["networks"] = [describe_network(parse_base(text, resolved.size)) for text in resolved.bases]
    document["fingerprint"] = competition.fingerprint()[:16]
    settings = document | {"training": document["training"] or "none, by a head on features"}
    rows = [{"name": name, "value": value} for name, value in flatten_mapping(settings).items() if name != "networks"]
    for one in document["networks"]:
        words = "{size} px, cut {cut}, pooling {pooling}, {weights} weights".format_map(one)
        rows.append({"name": f"base {one['name']}", "value": words})
    print_results(
        document, format_records(rows, {"setting": "{name}", "value": lambda row: str(row["value"])}), apart=False
    )


def describe_network(spec: Any) -> dict[str, Any]:
    """Describes a base of a recipe as plain values, with the terms of its weights."""
    weights = "the drawn world" if spec.entry.ours and spec.published else spec.weights
    if spec.from_hub and spec.weights == "imagenet":
        weights = "the preset's"
    if spec.entry.licence and spec.weights == "imagenet":
        weights += f" ({spec.entry.terms})"
    return {"name": spec.name, "size": spec.size, "cut": spec.cut or "none", "pooling": spec.pooling,
            "weights": weights}  # fmt: skip


@command(
    json=True,
    verify="check every row's checksum, compute a few of each shard again, and check exported networks",
    prune="remove a store, by its key, or strays",
)
def cache(_: Context, verify: bool = False, prune: tuple[str, ...] = ()) -> None:
    """Show the cache; --verify checks it, --prune KEY (or `strays`) removes from it."""
    from pipeline.errors import StarshiftError
    from pipeline.features import cache as feature_cache
    from pipeline.figures.text_table import format_records
    from pipeline.output import print_lines, print_results

    if prune:
        print_lines([f"freed {feature_cache.prune_stores(list(prune)) / 1e6:,.1f} MB"], apart=False)
    states, removed = _verify_cache() if verify else ({}, [])
    entries = feature_cache.list_entries()
    records = [
        {"key": entry.store.key, "megabytes": entry.bytes / 1e6, "rows": entry.rows, "contents": entry.description,
         "state": states.get(entry.store.key)}
        for entry in entries
    ]  # fmt: skip
    columns = {"key": "{key}", "MB": "{megabytes:,.1f}", "rows": "{rows:,}", "contents": "{contents}",
               "state": "{state}"}  # fmt: skip
    total = feature_cache.summarize_entries(entries)
    summary = f"{total['stores']} stores, {total['rows']:,} rows, {total['bytes'] / 1e6:,.1f} MB"
    print_results({"stores": records, "total": total}, [*format_records(records, columns), summary], apart=False)
    if removed:
        raise StarshiftError(
            f"The cache was damaged: {', '.join(removed)} removed.",
            expected="rows with their checksums and the values that their base gives, networks with their digests",
            received="; ".join(removed),
            remedy="nothing is lost: the next run computes them again",
        )


def _verify_cache() -> tuple[dict[str, str], list[str]]:
    """Verifies the whole cache. Returns each store's state by its key, and counts of what was removed."""
    from pipeline.features import cache as feature_cache
    from pipeline.features.cache import recheck_entry, remove_damaged_exports
    from pipeline.terminal import open_bar

    states, counts = dict[str, str](), {"damaged shards": 0, "shards of wrong values": 0}
    entries = sorted(feature_cache.list_entries(), key=lambda entry: entry.description)
    for entry in open_bar(entries, desc="verify", unit="store"):
        damaged, recheck = feature_cache.verify_entry(entry), recheck_entry(entry)
        counts["damaged shards"] += len(damaged)
        counts["shards of wrong values"] += len(recheck.wrong)
        removed = len(damaged) + len(recheck.wrong)
        states[entry.store.key] = (
            f"{removed} damaged shards removed" if removed
            else f"whole; values not checked: {recheck.skipped}" if recheck.skipped else "whole"
        )  # fmt: skip
    counts["exported networks"] = len(remove_damaged_exports())
    return states, [f"{count} {what}" for what, count in counts.items() if count]


@command(json=True)
def disk(_: Context) -> None:
    """Show what competitions, caches and the store take on the disk, and how to free it."""
    from pipeline.runs.disk_use import print_disk_use

    print_disk_use()


@command(
    pictures="how many, one a row",
    views="how many augmentations of each",
    seed="draws the pictures",
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
    competition = load_competition(comp, size=parse_size(size), **parse_numbers(int, seed=seed))
    from pipeline.figures.augmentations import write_sheet

    rows, columns = parse_number(pictures, "--pictures"), parse_number(views, "--views")
    log_written(write_sheet(competition, pictures=rows, views=columns))


@command(
    json=True,
    positional=["before", "after"],
    before="a run: its name, the beginning of it, or its path",
    after="the run to hold against it",
    page="write it as an HTML page to this path, too",
)
def compare(
    _: Context, before: str | None = None, after: str | None = None, comp: str | None = None, page: str | None = None
) -> None:
    """Compare two runs: `invoke compare A B`, each a run's name, its beginning, or a path."""
    from pipeline.runs.compare import compare_runs

    path = parse_page(page)
    compared = compare_runs(before or "", after or "", comp)
    if path:
        from pipeline.run_report.experiment_page import write_comparison_page

        log_written(write_comparison_page(path, compared))


@command(
    run="a run: its name, the beginning of it, its path, latest (where not given) or best",
    open="open it in the browser, too",
    tsne="draw the map by t-SNE instead of PCA; takes some seconds",
    maps="show what the run looks at in right and wrong pictures; loads its bases",
)
def report(
    _: Context,
    run: str | None = None,
    comp: str | None = None,
    open: bool = False,
    tsne: bool = False,
    maps: bool = False,
) -> None:
    """Write the HTML report of a finished run into its folder: one file, which works offline."""
    import webbrowser

    from pipeline.run_report.write import write_report_of

    path = write_report_of(run or "latest", comp, tsne=tsne, maps=maps)
    log_written(path)
    if open:
        webbrowser.open(path.resolve().as_uri())


@command(
    run="a run: its name, the beginning of it, its path, latest (where not given) or best",
    images="a picture, a folder of pictures, or a pattern in quotes; 24 pictures at most are drawn",
    label="the class to explain; each picture's likeliest where not given",
    out="the PNG file; explanation.png where not given",
    force="write over a file that is there",
)
def explain(
    _: Context,
    run: str | None = None,
    comp: str | None = None,
    images: str | None = None,
    label: str | None = None,
    out: str | None = None,
    force: bool = False,
) -> None:
    """Draw what a run looks at: the places of pictures that speak for a class, and against it."""
    from pathlib import Path

    from pipeline.errors import require
    from pipeline.paths import format_path
    from pipeline.runs import activation_maps, load, predictor

    require(images, "Which pictures?", expected="--images PICTURE, FOLDER or 'PATTERN'", received=images)
    files, target = predictor.find_pictures(str(images)), parse_path(out) or Path("explanation.png")
    predictor.check_output(target, force=force)
    count = activation_maps.write_explanation(
        load.find_run_folder(run or "latest", comp, predictor.has_model), files, target, label
    )
    print(f"wrote {format_path(target)}: {count} of {len(files)} pictures")


@command(
    run="a run: its name, the beginning of it, its path, latest (where not given) or best",
    format="onnx, tflite, openvino or savedmodel",
    int8="quantise to int8, with ranges measured on training pictures",
    final="the final model of the run instead of the average of its folds",
    images="a folder of pictures to measure int8 on, where the training pictures are not on this machine",
    out="the file or folder; in the run's folder where not given",
    force="write over a file that is there",
)
def export(
    _: Context,
    run: str | None = None,
    comp: str | None = None,
    format: str | None = None,
    int8: bool = False,
    final: bool = False,
    images: str | None = None,
    out: str | None = None,
    force: bool = False,
) -> None:
    """Export the model of a run to another format, and check that it answers as the run's."""
    from pipeline.errors import require
    from pipeline.paths import format_path
    from pipeline.runs import load, model_formats, predictor
    from pipeline.training.export import MODEL_FILE
    from pipeline.training.fold_job import FINAL_MODEL_FILE

    model_formats.find_format(str(format), int8=int8)
    name = FINAL_MODEL_FILE if final else MODEL_FILE
    folder = load.find_run_folder(run or "latest", comp, lambda one: (one / name).is_file())
    require((folder / name).is_file(), f"{folder.name} has no {name}.", expected=f"a run with {name}", received="none",
            remedy="invoke run --final with the run's flags" if final else "another run")  # fmt: skip
    if (target := parse_path(out)) is None:
        target = folder / "exports" / model_formats.build_name(str(format), name, int8=int8)
        target.parent.mkdir(exist_ok=True)
    else:
        predictor.check_output(target, force=force)
    exported = model_formats.export_model(
        load.load_run(folder), folder / name, str(format), target, int8=int8, folder=parse_path(images)
    )
    print(f"wrote {format_path(target)}: {model_formats.format_exported(exported)}")


@command(json=True)
def check(
    _: Context, comp: str | None = None, set_: tuple[str, ...] = (), bundle: str | None = None, force: bool = False
) -> None:
    """Check a competition's data before anything is computed: layout, classes, formats, and what is odd first."""
    competition = load_competition(comp, settings=set_)
    from pipeline.config import RunOptions
    from pipeline.data.check import format_check
    from pipeline.output import print_results
    from pipeline.workflow.prepare import check_competition

    found = check_competition(competition, RunOptions(bundle=parse_path(bundle), force=force))
    print_results({"check": found.build_record()}, *format_check(found))


@command(
    comp="the name of the competition: small letters, digits, - and _; its file is NAME.py here",
    data="its data: an archive of Kaggle, or a folder of pictures, with tables of labels if there are any",
    slug="Kaggle's name for it, the last part of its address; an archive needs it",
    force="replace a file that is there",
)
def init(
    _: Context, comp: str | None = None, data: str | None = None, slug: str | None = None, force: bool = False
) -> None:
    """Write a competition file for new data: labels, submission and metric as they look, with the reasons."""
    import shlex
    from pathlib import Path

    from pipeline.data import proposal
    from pipeline.errors import require
    from pipeline.files import write_text
    from pipeline.output import print_lines

    require(
        comp and data, "A name and a folder are needed.", expected="--comp NAME --data FOLDER", received=(comp, data)
    )
    folder, file = Path(str(data)).expanduser(), Path(f"{comp}.py")
    expected = "another name, or --force"
    require(force or not file.exists(), f"{file} is there already.", expected=expected, received=comp)
    expected = "--slug, the last part of the competition's address"
    require(slug or not folder.is_file(), "An archive belongs to a competition of Kaggle.", expected=expected,
            received="no --slug", remedy="or give the folder that it was unpacked to")  # fmt: skip
    found = proposal.propose_competition(folder)
    proposal.check_proposal(str(comp), folder, found)
    write_text(file, proposal.format_proposal(str(comp), folder.resolve(), found, slug))
    print_lines(proposal.list_reasons(found), apart=False)
    log_written(file)
    bundle = f" --bundle {shlex.quote(str(data))}" if slug else ""
    print_lines([f"next: invoke check --comp {file}{bundle}"], apart=False)
