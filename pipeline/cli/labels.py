"""Tasks on labels: the collection labels.apply."""

from invoke import Collection, Context

from pipeline.cli.common import command, load_competition


@command(
    csv="the file that invoke audit wrote, with yes in the column apply where its suggestion is right",
    undo="go back to the original labels",
)
def apply(_: Context, comp: str | None = None, csv: str | None = None, undo: bool = False) -> None:
    """Correct labels by a table beside the original ones, which stay as they are; the next run trains on them."""
    from pathlib import Path

    from pipeline.config import find_comp_argument
    from pipeline.data import corrections
    from pipeline.data.labels import load_labeled_pictures
    from pipeline.errors import require
    from pipeline.paths import format_path, reports_folder

    competition = load_competition(comp)
    name = find_comp_argument(competition.name)
    suggestions = format_path(reports_folder(competition.name) / corrections.CORRECTIONS_FILE)
    require(bool(csv) != undo, "Which labels?", expected="--csv FILE, or --undo", received="both" if csv else "neither",
            remedy=f"invoke audit --comp {name} writes {suggestions}")  # fmt: skip
    if undo:
        print(f"labels: {len(corrections.remove_corrections(competition.name).labels):,} are the original ones again")
        return
    train = load_labeled_pictures(competition)[0]
    label_of = dict(zip(train["id"], train["label"], strict=True))
    made = corrections.apply_corrections(competition, label_of, Path(str(csv)).expanduser())
    print(f"labels: {made.line}; the original ones stay as they are")
    print(f"next: invoke run --comp {name} trains on them; invoke labels.apply --comp {name} --undo goes back")


labels = Collection("labels", apply)
