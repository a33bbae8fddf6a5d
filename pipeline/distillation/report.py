"""Reports a distillation: scores of teacher, student on labels alone and distilled student, and the gains."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths
from pipeline.evaluation.intervals import Interval, format_interval, format_mean
from pipeline.figures.text_table import format_text_table, print_lines
from pipeline.files import write_json, write_text
from pipeline.runs.listing import format_number

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ModelScores:
    """The teacher, or a student.

    Args:
        name: which.
        scores: the metric, mean over folds, of each seed.
        folds: the same fold by fold.
        spread: sample deviation over seeds; over folds where there is one seed.
        accuracy: mean over folds and seeds.
        agreement: share of pictures whose likeliest class is the teacher's.
        agreement_top5: share whose five likeliest classes have the teacher's likeliest; None for five classes or fewer.
        cost: parameters, megabytes, pictures_per_second; None where unknown.
    """

    name: str
    scores: list[float]
    folds: list[list[float]]
    spread: float
    accuracy: float
    agreement: float
    agreement_top5: float | None
    cost: Mapping[str, Any] = field(default_factory=dict)

    @property
    def score(self) -> float:
        """Mean over folds and seeds."""
        return float(np.mean(self.scores))


@dataclass(frozen=True, kw_only=True)
class DistillationGains:
    """What the teacher brought; above 0 is better. Each interval has another kind of chance in it.

    Args:
        seeds: of training, paired; None for one seed.
        folds: of the pictures that are trained on and judged, mean over seeds; None for one fold.
        pictures: of the pictures that are judged, mean over seeds.
        gap: the share of the gap between student and teacher that is closed, by pictures; None where the teacher is not
            better beyond noise.
    """

    seeds: Interval | None
    folds: Interval | None
    pictures: Interval
    gap: Interval | None

    @property
    def sure(self) -> bool:
        """Whether every interval that there is lies above 0."""
        return all(one.is_positive for one in (self.seeds, self.folds, self.pictures) if one is not None)

    @property
    def harmful(self) -> bool:
        """Whether every interval that there is lies below 0."""
        return all(one.is_negative for one in (self.seeds, self.folds, self.pictures) if one is not None)


@dataclass(frozen=True, kw_only=True)
class DistillationSummary:
    """Everything that is told.

    Args:
        competition: its name.
        student: its base.
        strategy: how it was trained.
        asked: teachers, temperature, weight, patient, nested.
        runs: names of the students' runs, one a seed.
        sides: teacher, labels alone, distilled.
        gains: of the last over the one before.
        metric: its name.
        flattered: by teachers that have seen the labels of the pictures that the student is judged on.
    """

    competition: str
    student: str
    strategy: str
    asked: Mapping[str, Any]
    runs: Mapping[str, Sequence[str]]
    sides: Sequence[ModelScores]
    gains: DistillationGains
    metric: str
    flattered: bool = False

    @property
    def name(self) -> str:
        """What the report's files are called; they end as the first distilled run's folder does."""
        return (
            f"distill-{self.student.replace('/', '_')}-{self.strategy}-{self.runs['distilled'][0].rpartition('-')[2]}"
        )


def write_distillation_report(finding: DistillationSummary, folder: Path) -> list[Path]:
    """Prints the table and what it means, and writes both as Markdown and all numbers as JSON. Returns the files."""
    header, rows = build_table(finding)
    table = format_text_table(header, rows, right=header[1:])
    print_lines([*table, *(f"  {sentence}" for sentence in format_sentences(finding))])
    words, numbers = (folder / f"{finding.name}{suffix}" for suffix in (".md", ".json"))
    write_text(words, format_markdown(finding))
    gains = {one.name: getattr(finding.gains, one.name) for one in fields(finding.gains)}
    known = {name: result and result.record() for name, result in gains.items()}
    write_json(numbers, {**asdict(finding), "gains": known, "sure": finding.gains.sure})
    for path in (words, numbers):
        log.info("wrote %s", paths.format_path(path))
    return [words, numbers]


def build_table(finding: DistillationSummary) -> tuple[list[str], list[list[str]]]:
    """Builds the table's header and rows."""
    header = ["", f"{finding.metric} ± spread", "accuracy", "agrees", "in its top 5", "parameters", "MB", "pictures/s"]
    rows = [
        [
            side.name, format_mean(side.score, side.spread), f"{side.accuracy:.1%}", f"{side.agreement:.1%}",
            format_number(side.agreement_top5, ".1%"), format_number(side.cost.get("parameters"), ",d"),
            format_number(side.cost.get("megabytes"), ".1f"),
            format_number(side.cost.get("pictures_per_second"), ".0f"),
        ]
        for side in finding.sides
    ]  # fmt: skip
    kept = [place for place in range(len(header)) if any(row[place] for row in rows)]
    return [header[place] for place in kept], [[row[place] for place in kept] for row in rows]


def format_sentences(finding: DistillationSummary) -> list[str]:
    """Formats the conclusions."""
    gains, seeds = finding.gains, len(finding.sides[1].scores)
    kinds = [("seeds", gains.seeds), ("folds", gains.folds), ("pictures", gains.pictures)]
    noise = "; ".join(f"{format_interval(one, '+.4f')} over {kind}" for kind, one in kinds if one is not None)
    gain = finding.sides[2].score - finding.sides[1].score
    verdict = "better, beyond noise" if gains.sure else "worse, beyond noise" if gains.harmful else "within noise"
    told_of = [f"distilled against labels alone: {verdict}: {finding.metric} {gain:+.4f}; gain (95 %) {noise}"]
    if gains.gap is None:
        told_of.append("there is no gap to the teacher beyond noise")
    else:
        told_of.append(
            f"{gains.gap.estimate:.0%} of the gap to the teacher closed"
            f" ({format_interval(gains.gap, '.0%')} by pictures)"
        )
    if finding.flattered:
        told_of.append(
            "flattered: these teachers have seen the labels of the pictures that the student is judged on (second-hand"
            " leak, see pipeline/training/soft_targets.py)"
        )
    told_of.append(
        f"{seeds} seed{'s' if seeds > 1 else ''}; spread over {'seeds' if seeds > 1 else 'folds'}; parameters and MB as"
        " saved (a student: heads of all folds on one base, or the first fold's network), pictures/s in one view, now"
    )
    return told_of


def format_markdown(finding: DistillationSummary) -> str:
    """Formats the report as a page."""
    header, rows = build_table(finding)
    asked = finding.asked
    ways = ", ".join(way for way in ("patient", "nested") if asked[way])
    table = [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]
    listed = [f"- {name}: {', '.join(names)}" for name, names in finding.runs.items()]
    return "\n".join([
        f"# {finding.competition}: {finding.student} ({finding.strategy}) taught by {', '.join(asked['teachers'])}",
        "",
        f"Temperature {asked['temperature']:g}, weight {asked['weight']:g}{', ' + ways if ways else ''}.",
        "",
        *table,
        "",
        *(f"- {sentence}" for sentence in format_sentences(finding)),
        *listed,
        "",
    ])  # fmt: skip
