"""The timing of the air, on meshes so small that only its bookkeeping is tested."""

from meshtune.engine.bench.air import PLANS, Case, air_table, as_json, bench_air

CASES = (
    Case("OFDMA", 5, False, True, 20.0, {}),
    Case("TDMA", 9, True, False, None, {"access.kind": "tdma"}),
)


def test_every_case_and_plan_has_a_row_in_table_and_json() -> None:
    rows = bench_air(CASES, plan_devices=5)
    assert [row.what for row in rows] == ["OFDMA", "TDMA", *PLANS]
    assert rows[0].links == 20
    assert rows[1].links >= 9 * 6
    assert all(row.typical_ms > 0 for row in rows)
    assert len(air_table(rows).splitlines()) == 1 + len(rows)
    assert [entry["what"] for entry in as_json(rows)] == [row.what for row in rows]
