"""One word for one quantity: a run shows the same number under it wherever it is shown."""

import ast
import csv
import io
import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from meshtune.backend.app import create_app
from meshtune.backend.archive.tables import csv_lines, jsonl_lines, stored_rounds
from meshtune.backend.replies.runs import detail
from meshtune.backend.settings import Settings
from meshtune.dashboard.look import format as fmt
from meshtune.db import leases, runs, sweeps
from meshtune.db.session import reading, writing
from meshtune.engine.config import RunConfig
from meshtune.engine.quantities import QUANTITIES, TOTALS
from meshtune.engine.records import RoundRecord, RunStatus
from meshtune.engine.sweep import SweepSpec, cells
from meshtune.engine.sweep_results import METRICS
from tests.dashboard.conftest import Opener
from tests.support.builders import LEASE_S, sample_provenance, sample_record, tiny_config
from tests.support.real_api import RealApi

ROUNDS = 3
ROOT = Path(__file__).parents[2]
# Every energy has another size, so that none can stand for another; seconds and bits are large.
COUNTED = {
    "energy_j": 2.21,
    "receive_j": 3.7,
    "compute_j": 19.9,
    "airtime_s": 33.4,
    "round_s": 50.0,
}


@pytest.fixture
def api(settings: Settings, store: Engine) -> RealApi:
    """What the views see."""
    return RealApi(store, settings)


def record(config: RunConfig, index: int) -> RoundRecord:
    own = (0.25, 0.75, 0.5)[index]
    return sample_record(
        config, index, accuracy_own=own, accuracy_all=own / 2, sent_bits=1_234_567, **COUNTED
    )


@pytest.fixture
def run(store: Engine) -> int:
    """One completed run that is the only cell of sweep 1."""
    tree = {"name": "one", "base": tiny_config(rounds=ROUNDS).model_dump(mode="json")}
    spec = SweepSpec.model_validate(tree)
    with writing(store) as session:
        sweeps.create(session, spec, cells(spec))
    with writing(store) as session:
        claim = leases.claim_next(session, "w", lease_s=LEASE_S)
        assert claim is not None
        leases.record_provenance(session, claim, sample_provenance())
        for index in range(ROUNDS):
            told = record(claim.config, index)
            leases.append_round(session, claim, told, f"{index}.safetensors", lease_s=LEASE_S)
        leases.finish(session, claim, RunStatus.COMPLETED)
    return claim.run_id


EXPECTED = {
    "accuracy_own": fmt.percent(0.5),
    "accuracy_all": fmt.percent(0.25),
    "sent_bits": fmt.bits(ROUNDS * 1_234_567),
    "airtime_s": fmt.seconds(ROUNDS * 33.4),
    "energy_j": fmt.joules(ROUNDS * 2.21),
}
BY_WORD = {QUANTITIES[field].word: value for field, value in EXPECTED.items()}


def table(html: str, caption: str) -> dict[str, str]:
    """Head and only row of the table with this caption."""
    (found,) = re.findall(rf'aria-label="{caption}"><table>.*?</table>', html, re.DOTALL)
    head, row = (
        [unescape(re.sub(r"<.*?>", "", cell)) for cell in re.findall(r"<t[hd].*?</t[hd]>", line)]
        for line in re.findall(r"<tr.*?</tr>", found, re.DOTALL)
    )
    return dict(zip(head, row, strict=True))


def common(shown: dict[str, str]) -> dict[str, str]:
    return {word: shown[word] for word in BY_WORD}


def test_run_compare_sweeps_and_gallery_say_the_same(open_view: Opener, run: int) -> None:
    seen = open_view("run", run=run)
    assert common({each.label: each.value for each in seen.metric}) == BY_WORD
    page = open_view("compare", runs=run)
    html = "".join(str(each.proto.body) for each in page.get("html"))
    assert common(table(html, "Results")) == BY_WORD
    (row,) = open_view("sweeps", sweep=1).dataframe[0].value.to_dict("records")
    assert common(row) == BY_WORD
    (line,) = [each.value for each in open_view("gallery").caption if "seed" in each.value]
    for field in ("accuracy_own", "accuracy_all", "sent_bits"):
        assert f"{QUANTITIES[field].small} {EXPECTED[field]}" in line


def test_other_energies_have_words_of_their_own(open_view: Opener, run: int) -> None:
    said = [str(each.value) for each in open_view("run", run=run, tab="cost").caption]
    (line,) = [text for text in said if "energy" in text]
    for field in ("receive_j", "compute_j"):
        assert f"{QUANTITIES[field].word} {fmt.joules(ROUNDS * COUNTED[field])}" in line
    everything = ROUNDS * sum(COUNTED[f] for f in ("energy_j", "receive_j", "compute_j"))
    assert f"all three energies together {fmt.joules(everything)}" in line


def test_the_report_says_the_same(settings: Settings, store: Engine, run: int) -> None:
    app = create_app(settings)
    with TestClient(app) as client:
        app.state.engine = store
        page = client.get(f"/compare/report?run={run}").text
        sheet = client.get(f"/compare/table?run={run}&format=csv").text
        shown = client.get("/sweeps/1/table.csv").text
    assert common(table(page, "Results")) == BY_WORD
    last = list(csv.DictReader(line for line in sheet.splitlines() if line[0] != "#"))[-1]
    assert fmt.joules(float(last["total_energy_j"])) == EXPECTED["energy_j"]
    assert fmt.bits(float(last["total_bits"])) == EXPECTED["sent_bits"]
    (row,) = csv.DictReader(io.StringIO(shown))
    for field, text in EXPECTED.items():
        mean = float(row[f"{field}_mean"])
        share = field.startswith("accuracy")
        assert (fmt.percent(mean) if share else fmt.amount(mean, QUANTITIES[field].unit)) == text


def test_exports_add_up_to_the_same(store: Engine, run: int) -> None:
    with reading(store) as session:
        told = detail(session, runs.get(session, run))
    lines = list(jsonl_lines(told, stored_rounds(store, told)))[1:]
    assert fmt.joules(sum(json.loads(line)["energy_j"] for line in lines)) == EXPECTED["energy_j"]
    text = "".join(csv_lines(told, stored_rounds(store, told)))
    rows = csv.DictReader(line for line in text.splitlines() if line[0] != "#")
    per_round = {row["round_index"]: float(row["round_energy_j"]) for row in rows}
    assert fmt.joules(sum(per_round.values())) == EXPECTED["energy_j"]


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the API says of its bodies."""
    app = create_app(Settings(state_dir=tmp_path_factory.mktemp("state")))
    found: dict[str, Any] = app.openapi()["components"]["schemas"]
    return found


@pytest.mark.parametrize("field", QUANTITIES)
def test_the_api_calls_its_fields_by_the_word(schemas: dict[str, Any], field: str) -> None:
    titles = {
        name: parts["properties"][field].get("title")
        for name, parts in schemas.items()
        if field in parts.get("properties", {})
    }
    assert set(titles.values()) <= {QUANTITIES[field].word}, titles


@pytest.mark.parametrize("field", [f for f in QUANTITIES if f in RoundRecord.model_fields])
def test_the_table_of_the_docs_has_the_word(field: str) -> None:
    text = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert f"| `{field}` | {QUANTITIES[field].word} |" in text


def test_no_two_quantities_share_a_word() -> None:
    words = [each.word for each in QUANTITIES.values()]
    assert len(set(words)) == len(words)
    assert set(TOTALS.values()) <= set(QUANTITIES.values())
    assert {*METRICS} <= QUANTITIES.keys()


# Labels that would say one of several quantities, or a second word for one.
LOOSE = {"Energy", "Bits", "Time", "Payload", "Transmit", "Receive", "Takes here", "Own accuracy"}


def test_no_screen_or_terminal_has_a_loose_word() -> None:
    files = [*(ROOT / "dashboard").rglob("*.py"), *(ROOT / "engine").glob("*.py")]
    for path in files:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert node.value not in LOOSE, f"{path}:{node.lineno} {node.value}"
