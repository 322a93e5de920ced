"""Tables of a comparison: results, tests, levels, what differs in the configs, versions. Pure."""

from collections.abc import Mapping, Sequence
from statistics import fmean

import pandas as pd

from meshtune.backend.schemas.compare import (
    AXES,
    Accuracy,
    Axis,
    ComparedRun,
    Cost,
    Paired,
    PairedTest,
)
from meshtune.dashboard.compare.arms import Arm, Band, differing_fields, shown
from meshtune.dashboard.compare.fronts import Reach, reaches
from meshtune.dashboard.look import format as fmt, theme
from meshtune.engine import quantities as words
from meshtune.engine.naming import flat

OWN, ALL, BITS = words.OWN_TASK.word, words.ALL_TASKS.word, words.BITS_SENT.word
SEED_HELP = "Mean ± half of the 95 % interval over seeds (Student's t); no interval for one seed."
SUMMARY_HELP = {
    "Run": "A run, or a group of runs that differ in seed and name only; n is how many are "
    "in the mean.",
    OWN: f"{words.OWN_TASK.meaning}, last evaluation. {SEED_HELP}",
    f"{OWN} ±": "Difference to the reference in percentage points.",
    ALL: f"{words.ALL_TASKS.meaning}, last evaluation. {SEED_HELP}",
    f"{ALL} ±": "Difference to the reference in percentage points.",
    words.FORGETTING.word: f"{words.FORGETTING.meaning}.",
    BITS: f"{words.BITS_SENT.meaning}.",
    f"{BITS} ±": "Difference to the reference in percent of it.",
    words.AIRTIME.word: f"{words.AIRTIME.meaning}.",
    words.TRANSMIT.word: f"{words.TRANSMIT.meaning}.",
    words.MACHINE_TIME.word: f"{words.MACHINE_TIME.meaning}.",
}
TESTS_HELP = {
    "Against the reference": "A group of completed runs that differ in seed and name only.",
    "Seeds": "Seeds that both groups have completed; only these are paired.",
    "Difference": "Mean of the paired differences ± half of its 95 % interval (Student's t).",
    "Effect d_z": "Mean difference divided by its standard deviation over seeds. Overstated "
    "for few seeds.",
    "p (t)": "Two-sided paired t test, corrected by Holm over all rows.",
    "p (ranks)": "Two-sided exact Wilcoxon signed-rank test, corrected by Holm over all rows. "
    "With n seeds it cannot be below 2 / 2^n: 0.0625 for five.",
}
UNITS: dict[Axis, str] = {
    "round": "",
    "total_bits": words.BITS_SENT.unit,
    "total_airtime_s": words.AIRTIME.unit,
    "total_energy_j": words.TRANSMIT.unit,
    "total_wall_s": words.MACHINE_TIME.unit,
}
AXIS_COLUMNS: dict[Axis, str] = {
    "round": "Rounds",
    "total_bits": BITS,
    "total_airtime_s": words.AIRTIME.word,
    "total_energy_j": words.TRANSMIT.word,
    "total_wall_s": words.MACHINE_TIME.word,
}


def with_interval(mean: float | None, half: float | None) -> str:
    """A share with half of its interval: 70.4 ± 1.8 %."""
    if mean is None or half is None:
        return fmt.percent(mean)
    return f"{100 * mean:.1f}{fmt.SPACE}±{fmt.SPACE}{100 * half:.1f}{fmt.SPACE}%"


def summary(arms: Sequence[Arm]) -> pd.DataFrame:
    """Last values of every arm, with differences to the reference."""
    base = next((arm for arm in arms if arm.reference), None)
    table = pd.DataFrame([_summary_row(arm, base) for arm in arms if arm.drawn])
    if all(len(arm.members) > 1 for arm in arms) and len(table):
        return table.drop(columns="Method")  # the groups are called by it
    return table


def _summary_row(arm: Arm, base: Arm | None) -> dict[str, str]:
    own, everything = arm.values("accuracy_own"), arm.values("accuracy_all")
    bits = _mean_total(arm, "total_bits")
    rounds = max(1.0, fmean(each.run.rounds_done for each in arm.drawn))

    def apart(band: Band, column: Accuracy) -> str:
        if base is None or arm.reference:
            return "reference"
        here, there = band.last()[0], base.values(column).last()[0]
        return fmt.points(None if here is None or there is None else here - there)

    return {
        "Run": arm.title,
        "Method": theme.method_look(arm.method).title,
        OWN: with_interval(*own.last()),
        f"{OWN} ±": apart(own, "accuracy_own"),
        ALL: with_interval(*everything.last()),
        f"{ALL} ±": apart(everything, "accuracy_all"),
        words.FORGETTING.word: fmt.points(arm.values("forgetting").last()[0]).lstrip("+±"),
        BITS: fmt.bits(bits),
        f"{BITS} per round": fmt.bits(bits / rounds),
        f"{BITS} ±": "reference"
        if base is None or arm.reference
        else fmt.relative(bits, _mean_total(base, "total_bits")),
        words.AIRTIME.word: fmt.seconds(_mean_total(arm, "total_airtime_s")),
        words.TRANSMIT.word: fmt.joules(_mean_total(arm, "total_energy_j")),
        words.MACHINE_TIME.word: fmt.seconds(_mean_total(arm, "total_wall_s")),
    }


def _mean_total(arm: Arm, cost: Cost) -> float:
    totals = arm.totals(cost)
    return fmean(totals) if totals else 0.0


# Tests


def tests(paired: Paired, titles: Mapping[str, str], metric: Accuracy) -> pd.DataFrame:
    """Every group against the reference group, for one metric."""
    return pd.DataFrame([_test_row(each, titles) for each in paired.tests if each.metric == metric])


def _test_row(test: PairedTest, titles: Mapping[str, str]) -> dict[str, str]:
    found = test.difference
    difference = fmt.MISSING
    if found is not None:
        difference = fmt.points(found.mean)
        if found.half_width is not None:
            half = f"{100 * found.half_width:.1f}"
            difference = difference.replace(f"{fmt.SPACE}pt", f" ± {half}{fmt.SPACE}pt")
    return {
        "Against the reference": titles.get(test.group, test.group),
        "Seeds": str(len(test.seeds)),
        "Difference": difference,
        "Effect d_z": fmt.MISSING if test.effect is None else signed(test.effect),
        "p (t)": p_value(test.p_t_holm),
        "p (ranks)": p_value(test.p_wilcoxon_holm),
        "Reading": reading(test),
    }


def reading(test: PairedTest) -> str:
    """What the t test says, in words."""
    if test.why_not is not None or test.p_t_holm is None or test.difference is None:
        return fmt.sentence(test.why_not or "no test").replace("\\", "")
    if test.p_t_holm >= 0.05:
        return "No difference that these seeds can show."
    return "Higher at the 5 % level." if test.difference.mean > 0 else "Lower at the 5 % level."


def p_value(p: float | None) -> str:
    """A p value: 0.031, < 0.001."""
    if p is None:
        return fmt.MISSING
    return f"<{fmt.SPACE}0.001" if p < 0.001 else f"{p:.3f}"


def signed(value: float) -> str:
    """A number with its sign and two digits after the point: +2.31."""
    return f"{value:+.2f}".replace("-", fmt.MINUS)


# Levels


def levels(arms: Sequence[Arm], metric: Accuracy, level: int) -> pd.DataFrame:
    """What every arm needs to reach `level` percent: medians over its runs."""
    base = next((arm for arm in arms if arm.reference), None)
    rows = []
    found = {axis: reaches(arms, metric, axis, level) for axis in AXES}
    for number, arm in enumerate(arms):
        here = {axis: found[axis][number] for axis in AXES}
        row = {"Run": arm.title, "Reached": here["round"].told}
        row |= {AXIS_COLUMNS[axis]: _needed(here[axis], axis) for axis in AXES}
        there = None if base is None else found["total_bits"][list(arms).index(base)].median
        row[f"{BITS} ±"] = (
            "reference" if arm.reference else fmt.relative(here["total_bits"].median, there)
        )
        rows.append(row)
    return pd.DataFrame(rows)


def _needed(reach: Reach, axis: Axis) -> str:
    if reach.median is None:
        return "not reached"
    if axis == "round":
        return fmt.significant(reach.median, 3)
    if UNITS[axis] == "s":
        return fmt.seconds(reach.median)
    return fmt.quantity(reach.median, UNITS[axis])


# Configs and versions


def config_differences(arms: Sequence[Arm], *, shared: bool | None = None) -> pd.DataFrame:
    """Config fields in which the arms differ: one row per field, one column per arm.

    Seed and name are left out; a field that an arm does not have belongs to another kind.

    Args:
        arms: the columns.
        shared: only fields that all arms have, or only those that not all have; both if None.
    """
    trees = [flat(arm.members[0].config) for arm in arms]
    names = differing_fields([arm.members[0].config for arm in arms])
    if shared is not None:
        names = [name for name in names if all(name in tree for tree in trees) == shared]
    rows = {name: [shown(tree.get(name)) for tree in trees] for name in names}
    titles = [arm.title for arm in arms]
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=titles, dtype="object")
    return frame.rename_axis("Field")


def provenance(study: Sequence[ComparedRun]) -> pd.DataFrame:
    """What one must know of each run to get the same numbers again."""
    return pd.DataFrame([_provenance_row(each) for each in study])


def _provenance_row(each: ComparedRun) -> dict[str, str]:
    known = each.provenance
    versions = {
        "Meshtune": fmt.MISSING if known is None else known.meshtune,
        "Commit": fmt.MISSING
        if known is None or known.commit is None
        else known.commit[:10] + ("+" if known.dirty else ""),
        "Python": fmt.MISSING if known is None else known.python,
        "torch": fmt.MISSING if known is None else known.torch,
        "Platform": fmt.MISSING if known is None else known.platform,
    }
    return {
        "Run": f"{each.run.name} #{each.run.id}",
        "Seed": str(each.run.seed),
        "State": theme.STATUSES[each.run.status].title,
        "Rounds": f"{each.run.rounds_done} of {each.run.rounds_total}",
        **versions,
        "Config (SHA-256)": each.config_sha256[:12],
    }
