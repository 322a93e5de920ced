"""Traces that others wrote: marks and decimal commas, SUMO and ns-2, resampled to rounds."""

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest

from meshtune.engine import config as c
from meshtune.engine.errors import ConfigMismatch
from meshtune.engine.topology.motion import build_motion
from meshtune.engine.topology.traces import SUFFIXES, read_trace

FCD = """<?xml version="1.0" encoding="UTF-8"?>
<fcd-export xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
    <timestep time="100.00"/>
    <timestep time="101.00">
        <vehicle id="a#1" x="0.00" y="-1.60" angle="90.00" speed="0.00" lane="1fi_0"/>
        <person id="a#1" x="8.00" y="1.00" angle="0.00"/>
    </timestep>
    <timestep time="103.00">
        <vehicle id="a#1" x="4.00" y="-1.60" angle="90.00" speed="2.00"/>
    </timestep>
    <timestep time="111.00">
        <vehicle id="a#1" x="4.00" y="6.40"/>
        <person id="a#1" x="8.00" y="3.00"/>
    </timestep>
</fcd-export>
"""
FCD_TABLE = """timestep_time;vehicle_v;vehicle_id;vehicle_x;vehicle_y;person_id;person_x;person_y
100.00;;;;;;;
101.00;90.00;a#1;0.00;-1.60;;;
101.00;;;;;a#1;8.00;1.00
103.00;90.00;a#1;4.00;-1.60;;;
111.00;;a#1;4.00;6.40;;;
111.00;;;;;a#1;8.00;3.00
"""
# By hand, every 5 s from 101 s: the vehicle is half a metre into its second leg of 8 m in 8 s, ...
ROUNDS = [
    [[0.0, -1.6], [8.0, 1.0]],
    [[4.0, 1.4], [8.0, 2.0]],
    [[4.0, 6.4], [8.0, 3.0]],
]
NS2 = """# set up by hand
set opt(nn) 2
$node_(1) set X_ 5.0
$node_(1) set Y_ 5.0
$node_(1) set Z_ 0.0
$node_(0) set X_ 0.0
$node_(0) set Y_ 0.0;
$god_ set-dist 0 1 1
$ns_ at 1.0 "$node_(0) setdest 10.0 0.0 2.0"
$ns_ at 4.0 "$node_(0) setdest 6.0 8.0 1.0"
$ns_ at 20.0 "$node_(0) setdest 6.0 8.0 0.0"
"""


def written(tmp_path: Path, text: str | bytes) -> Path:
    file = tmp_path / "walk.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfround,device,x_m,y_m\r\n0,0,0.5,0\r\n2,0,4.5,1\r\n",
        "round;device;x_m;y_m\n0;0;0,5;0,0\n2;0;4,5;1,0\n".encode("utf-16"),
        "round,device,x_m,y_m\n0.0,0.0,0.5,0\n2.0,0.0,4.5,1\n",
        "# walked\nround, device, x_m, y_m, who\n 0, 0, 0.5, 0, me\n\n2, 0, 4.5, 1, me\n",
        "device\tround\tx_m\ty_m\r0\t0\t0,5\t0\r0\t2\t4,5\t1\r",
    ],
)
def test_a_table_of_any_editor_is_the_same_trace(tmp_path: Path, text: str | bytes) -> None:
    walk = read_trace(written(tmp_path, text), 1)
    assert [walk.places(k).tolist() for k in range(3)] == [[[0.5, 0.0]], [[2.5, 0.5]], [[4.5, 1.0]]]


@pytest.mark.parametrize("text", [FCD, FCD_TABLE, FCD_TABLE.replace(".", ","), "\ufeff" + FCD])
def test_sumo_is_read_at_the_times_of_the_rounds(tmp_path: Path, text: str) -> None:
    walk = read_trace(written(tmp_path, text), 2, interval_s=5.0)
    for k, places in enumerate([*ROUNDS, ROUNDS[-1]]):
        assert walk.places(k) == pytest.approx(np.array(places))


def test_the_plain_columns_of_a_table_by_seconds_are_enough(tmp_path: Path) -> None:
    walk = read_trace(written(tmp_path, "time,id,x,y\n0,a,1,2\n4,a,3,2\n"), 1, interval_s=1.0)
    assert walk.places(1).tolist() == [[1.5, 2.0]]


def test_nodes_of_ns_2_go_where_they_are_sent_and_turn_on_the_way(tmp_path: Path) -> None:
    walk = read_trace(written(tmp_path, NS2), 2, interval_s=1.0)
    on_the_way = {0: (0.0, 0.0), 1: (0.0, 0.0), 2: (2.0, 0.0), 4: (6.0, 0.0), 8: (6.0, 4.0)}
    for k, place in {**on_the_way, 12: (6.0, 8.0), 999: (6.0, 8.0)}.items():
        assert walk.places(k) == pytest.approx(np.array([place, (5.0, 5.0)]))


def test_a_run_asks_for_the_rounds_of_its_clock_whatever_the_ending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESHTUNE_STATE_DIR", str(tmp_path))
    folder = tmp_path / "inputs" / "traces"
    folder.mkdir(parents=True)
    for suffix in SUFFIXES:
        file = folder / f"walk{suffix}"
        file.write_text(NS2, encoding="utf-8")
        pinned = hashlib.sha256(file.read_bytes()).hexdigest()
        trace = c.Trace(name="walk", interval_s=2.0, sha256=pinned)
        motion = build_motion(trace, np.zeros((2, 2)), 10.0, 0)
        assert motion.places(2) == pytest.approx(np.array([[6.0, 0.0], [5.0, 5.0]]))
        file.unlink()


def test_places_of_a_map_move_to_their_middle(tmp_path: Path) -> None:
    rows = "0,0,691608,5334760\n0,1,691638,5334760\n1,1,691668,5334780\n"
    walk = read_trace(written(tmp_path, "round,device,x_m,y_m\n" + rows), 2)
    assert walk.places(0).tolist() == [[-30.0, -10.0], [0.0, -10.0]]
    assert walk.places(1).tolist() == [[-30.0, -10.0], [30.0, 10.0]]


def test_a_long_trace_fills_no_memory(tmp_path: Path) -> None:
    text = "time,id,x,y\n0,a,1,2\n1e300,a,3,2\n"
    assert len(read_trace(written(tmp_path, text), 1, interval_s=1e-3).rounds) == 10_001


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (FCD, "moves 2 devices, but fleet.devices is 3; set fleet.devices to 2"),
        (NS2, "moves 2 devices, but fleet.devices is 3"),
        ("<fcd-export/>", "holds no vehicle"),
        (FCD[:-3], "not XML"),
        ('<!DOCTYPE x [<!ENTITY a "b">]>' + FCD.partition("?>")[2], "document type"),
        (FCD.replace('x="8.00"', ""), "timestep 101.00: nothing stands where time, x or y must"),
        (FCD.replace('x="8.00"', 'x="east"'), "timestep 101.00: 'east' stands where"),
        (FCD.replace('x="8.00"', 'x="inf"'), "timestep 101.00: 'inf' stands where"),
        (FCD_TABLE.replace("vehicle_id", "v").replace("person_id", "p"), "no column vehicle_id"),
        ("time,id,x,y\n1,,,\n", "no line with a vehicle_id"),
        ("time,id,x,y\n1,a,2\n", "line 2: nothing stands where"),
        (NS2.replace("$node_(1) set Y_ 5.0\n", ""), "node 1 has no place to start from"),
        (NS2.replace("$node_(0)", "$node_(7)"), "node 0 has no place to start from"),
        (NS2 + '$ns_ at 9 "$node_(0) set X_ 5"\n', "line 12 is not understood: .ns_ at 9"),
        (NS2 + '$ns_ at 9 "$node_(0) setdest 1 y 2"\n', "line 12: 'y' stands where"),
        ("time,id,x,y\n0,a,0,0\n0,b,3e5,0\n0,c,1,1\n", "span 300000 m"),
    ],
)
def test_what_is_no_trace_of_the_fleet_is_refused_in_a_sentence(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(ConfigMismatch, match=said) as caught:
        read_trace(written(tmp_path, text), 3)
    assert "walk.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_speed_that_never_arrives_is_a_rest(tmp_path: Path) -> None:
    text = NS2 + '$ns_ at 30 "$node_(0) setdest 0 0 1e-320"\n'
    walk = read_trace(written(tmp_path, text), 2, interval_s=10.0)
    assert math.isfinite(float(walk.places(500).sum()))
