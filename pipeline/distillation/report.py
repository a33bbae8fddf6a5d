"""Scores and reports a distillation: teacher, student on labels alone and distilled student, and the gains."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths
from pipeline.evaluation import metrics
from pipeline.evaluation.intervals import (
    Interval,
    bootstrap_score,
    estimate_over_folds,
    estimate_over_seeds,
    estimate_paired_difference,
    find_verdict,
    format_interval,
    format_mean,
)
from pipeline.evaluation.nested_cv import OOFPredictions
from pipeline.figures.text_table import format_text_table
from pipeline.files import write_json, write_text
from pipeline.output import print_results
from pipeline.runs.listing import format_number
from pipeline.terminal import paint_verdict

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
        folds: of the pictures that are trained on and judged, mean over seeds; None for one fold. It does not decide.
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
        """Whether it is better beyond noise, over pictures and over seeds where there are several."""
        return all(one.is_positive for one in (self.seeds, self.pictures) if one is not None)

    @property
    def harmful(self) -> bool:
        """Whether it is worse beyond noise, likewise."""
        return all(one.is_negative for one in (self.seeds, self.pictures) if one is not None)

    @property
    def verdict(self) -> str:
        """See `find_verdict`; pictures and seeds have to agree."""
        return find_verdict(self.pictures.estimate, within_noise=not (self.sure or self.harmful))


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
    gains = {one.name: getattr(finding.gains, one.name) for one in fields(finding.gains)}
    known = {name: result and result.record() for name, result in gains.items()}
    sides = [{**asdict(side), "score": side.score} for side in finding.sides]
    record = {**asdict(finding), "sides": sides, "gains": known, "verdict": finding.gains.verdict}
    sentences = [paint_verdict(sentence) for sentence in format_sentences(finding)]
    print_results(record, format_text_table(header, rows), sentences)
    words, numbers = (folder / f"{finding.name}{suffix}" for suffix in (".md", ".json"))
    write_text(words, format_markdown(finding))
    write_json(numbers, {**record, "sure": finding.gains.sure})
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
    verdict = gains.verdict if gains.verdict == "within noise" else f"{gains.verdict}, beyond noise"
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


BOOTSTRAP_SAMPLES = 1000
TOP_K = 5


@dataclass(frozen=True, kw_only=True)
class DistillationEvaluation:
    """Predictions of the same pictures, none by who had seen the picture.

    Args:
        metric: the competition's.
        positive: number of the class that is asked for, or None.
        truth: (pictures,) int.
        fold_of: (pictures,) int.
        teacher: mean probabilities of the teachers (pictures, classes).
        before: of the students on labels alone (seeds, pictures, classes).
        after: of the distilled students (seeds, pictures, classes).
        validation_share: the share of pictures that a fold holds out.
        group_of: (pictures,) their groups, see OOFPredictions.
    """

    metric: str
    positive: int | None
    truth: np.ndarray
    fold_of: np.ndarray
    teacher: np.ndarray
    before: np.ndarray
    after: np.ndarray
    validation_share: float
    group_of: np.ndarray | None = None

    def by_fold(self, probabilities: np.ndarray, metric: str) -> np.ndarray:
        """Returns the metric on each fold, (folds,) float64."""
        return np.array(metrics.score_folds(metric, self.truth, probabilities, self.fold_of, self.positive))


def score_sides(predictions: DistillationEvaluation) -> list[ModelScores]:
    """Scores the teacher, the student on labels alone, and the distilled student."""
    return [
        score_side(predictions, "teacher", predictions.teacher[None]),
        score_side(predictions, "student, labels alone", predictions.before),
        score_side(predictions, "student, distilled", predictions.after),
    ]


def score_side(predictions: DistillationEvaluation, name: str, predicted: np.ndarray) -> ModelScores:
    """Scores one side; the spread is over seeds, and over folds where there is one seed."""
    folds = np.stack([predictions.by_fold(one, predictions.metric) for one in predicted])
    scores = folds.mean(axis=1)
    several = scores if len(scores) > 1 else folds[0]
    return ModelScores(
        name=name,
        scores=scores.tolist(),
        folds=folds.tolist(),
        spread=float(np.std(several, ddof=1)) if len(several) > 1 else 0.0,
        accuracy=float(np.mean([predictions.by_fold(one, "accuracy").mean() for one in predicted])),
        agreement=float(np.mean([one.argmax(axis=1) == predictions.teacher.argmax(axis=1) for one in predicted])),
        agreement_top5=compute_top_k_agreement(predicted, predictions.teacher),
    )


def compute_top_k_agreement(predicted: np.ndarray, teacher: np.ndarray) -> float | None:
    """Computes how often the teacher's likeliest class is among the five likeliest; None for five classes or fewer.

    Args:
        predicted: (seeds, pictures, classes).
        teacher: (pictures, classes).
    """
    if teacher.shape[1] <= TOP_K:
        return None
    best = np.argpartition(-predicted, TOP_K, axis=2)[:, :, :TOP_K]
    return float((best == teacher.argmax(axis=1)[None, :, None]).any(axis=2).mean())


def compute_gains(predictions: DistillationEvaluation) -> DistillationGains:
    """Computes the gains by distillation: over seeds, folds and pictures, and as a share of the gap to the teacher."""
    sign = metrics.find_metric(predictions.metric).sign
    before, after = (np.stack([predictions.by_fold(one, predictions.metric) for one in each]) for each in
                     (predictions.before, predictions.after))  # fmt: skip
    moved, count = sign * (after - before), before.shape[1]
    step = metrics.compute_resolution(predictions.metric, predictions.truth, predictions.fold_of, predictions.positive)
    oof = OOFPredictions.build([predictions.teacher], predictions.truth, predictions.fold_of, predictions.metric,
                               predictions.positive, predictions.group_of)  # fmt: skip
    alone, taught, teacher = (
        sign * np.mean([oof.by_picture(one) for one in each], axis=0)
        for each in (predictions.before, predictions.after, [predictions.teacher])
    )
    gap = None
    counts, groups = oof.scorer.counts_correct, oof.group_of
    if estimate_paired_difference(teacher - alone, groups, counts_correct=counts).is_positive:
        with np.errstate(divide="ignore", invalid="ignore"):  # some draws have no gap
            gap = bootstrap_score(
                lambda _, rows: float(rows[:, 0].mean() / rows[:, 1].mean()), predictions.truth,
                np.stack([taught - alone, teacher - alone], axis=1), np.random.default_rng(0),
                samples=BOOTSTRAP_SAMPLES,
            )  # fmt: skip
    return DistillationGains(
        seeds=estimate_over_seeds(moved.mean(axis=1).tolist(), step / count) if len(moved) > 1 else None,
        folds=estimate_over_folds(moved.mean(axis=0).tolist(), predictions.validation_share, step)
        if count > 1
        else None,
        pictures=estimate_paired_difference(taught - alone, groups, counts_correct=counts),
        gap=gap,
    )
