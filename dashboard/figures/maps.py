"""What the network map shows: the messages of a round; and the still picture of a mesh. Pure."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

from meshtune.dashboard.look import format as fmt, theme
from meshtune.engine import quantities as words
from meshtune.engine.config import TaskName, in_order
from meshtune.engine.plans import Plan, PlannedLink
from meshtune.engine.records import DeviceRecord, LinkRecord, RoundRecord

Half = dict[str, Any]
ABSENT = "absent"  # stands where the task of a device would say how it is drawn
FLOWING_PAIRS = 200


def round_map(
    record: RoundRecord,
    own_accuracy: Mapping[int, float],
    mode: theme.Mode,
    mesh: Collection[tuple[int, int]] = (),
) -> dict[str, Any]:
    """The messages of one round; the ring around a device is its accuracy on its own task.

    A device that is out of reach is hollow and grey, whatever its task. Links of the mesh that
    carried nothing are thin and pale; `mesh` holds linked pairs, the lower number first.
    """
    links = {(link.receiver, link.sender): link for link in record.links}
    nodes = []
    for device in record.devices:
        accuracy = own_accuracy.get(device.device)
        place = (device.x_m, device.y_m)
        shown = node(device.device, device.task, place, _told(device, accuracy))
        shown["ring"] = accuracy
        shown["label"] = "" if accuracy is None else fmt.percent(accuracy, 0)
        if not device.present:
            shown["task"] = ABSENT
        nodes.append(shown)
    most = max((link.payload_bits for link in record.links), default=0)
    pairs = _pairs(links, lambda link: _sent_half(link, most, mode))
    used = {(int(pair["a"]), int(pair["b"])) for pair in pairs}
    idle = [_idle_pair(*pair, mode) for pair in sorted({*mesh} - used)]
    payload = _payload(nodes, [*idle, *pairs], mode)  # what was sent lies above
    if idle:
        whole = fmt.count(len(pairs) + len(idle), "link")
        payload["summary"] = payload["summary"].replace(
            f"· {whole}", f"· {len(pairs)} of {whole} used"
        )
    payload["hulls"] = hulls([device.cluster for device in record.devices])
    # So many moving dots would cost frames on a machine without a graphics card.
    payload["quiet"] = len(pairs) > FLOWING_PAIRS
    if any(each["task"] == ABSENT for each in nodes):
        payload["tasks"][ABSENT] = {
            "title": "Out of reach",
            "color": theme.MUTED.of(mode),
            "marker": "circle",
            "filled": False,
        }
    return payload


def planned_map(plan: Plan, mode: theme.Mode) -> dict[str, Any]:
    """The mesh of a plan, before anything was sent: links by their mean signal."""
    nodes = [
        node(place, device.task, (device.x_m, device.y_m), [])
        for place, device in enumerate(plan.devices)
    ]
    links = {(link.receiver, link.sender): link for link in plan.links}
    payload = _payload(nodes, _pairs(links, lambda link: _planned_half(link, mode)), mode)
    payload["hulls"] = hulls(plan.clusters)
    return payload


def _planned_half(link: PlannedLink, mode: theme.Mode) -> Half:
    lines = [f"Device {link.sender} to {link.receiver}"]
    if link.mean_snr_db is not None:
        mean = f"mean SNR {fmt.decibel(link.mean_snr_db)}"
        lines.append(f"{mean} · {fmt.rate(link.mean_rate_bit_s)}")
    return _half(theme.snr_color(link.mean_snr_db, mode), 1.5, lines)


def _idle_pair(a: int, b: int, mode: theme.Mode) -> Half:
    """A link of the mesh over which nothing went."""
    half = _half(theme.HAIRLINE.of(mode), 1.0, [f"Device {a} and {b}", "nothing sent this round"])
    return {"a": str(a), "b": str(b), "to_a": half, "to_b": half}


def _half(color: str, width: float, tip: list[str]) -> Half:
    return {"color": color, "width": width, "lost": False, "flow": False, "tip": tip}


def hulls(clusters: Sequence[int]) -> list[dict[str, Any]]:
    """Clusters of two devices or more, where there is more than one cluster."""
    members: dict[int, list[str]] = {}
    for device, cluster in enumerate(clusters):
        members.setdefault(cluster, []).append(str(device))
    if len(members) < 2:
        return []
    return [
        {"name": f"cluster {name}", "members": ids} for name, ids in members.items() if len(ids) > 1
    ]


def _told(device: DeviceRecord, accuracy: float | None) -> list[str]:
    """What the tooltip of a device says of its round."""
    lines = [] if device.present else ["out of reach: trains on alone"]
    lines += [f"own task {fmt.percent(accuracy)}", f"sent {fmt.bits(device.sent_bits)}"]
    if device.sent_bits:
        lines.append(_on_air(device))
    if device.receive_j:
        lines.append(f"{words.RECEIVE.small} {fmt.joules(device.receive_j)}")
    if device.compute_s:
        computes = f"computes {fmt.seconds(device.compute_s)}"
        lines.append(f"{computes} · {words.COMPUTE.small} {fmt.joules(device.compute_j)}")
    return lines


def _on_air(sent: DeviceRecord | LinkRecord) -> str:
    airtime = f"{words.AIRTIME.small} {fmt.seconds(sent.airtime_s)}"
    return f"{airtime} · {words.TRANSMIT.small} {fmt.joules(sent.energy_j)}"


def slowest_device(record: RoundRecord) -> int | None:
    """The device that holds up the round: longest at computing and on air; None if all are alike.

    Waiting for a turn is no device's own doing and does not count.
    """
    busy_s = {each.device: each.compute_s + each.airtime_s for each in record.devices}
    longest = max(busy_s.values(), default=0.0)
    slowest = [device for device, seconds in busy_s.items() if seconds >= 0.999 * longest]
    return slowest[0] if len(slowest) == 1 and len(busy_s) > 1 else None


def node(
    index: int, task: TaskName, place: tuple[float, float], lines: list[str]
) -> dict[str, Any]:
    x, y = place
    where = f"{fmt.metres(x)} east, {fmt.metres(y)} north"
    return {
        "id": str(index),
        "x": round(x, 2),
        "y": round(y, 2),
        "task": task,
        "ring": None,
        "label": "",
        "tip": [f"Device {index} · {theme.TASKS[task].title}", *lines, where],
    }


def _pairs(links: Mapping[tuple[int, int], Any], half: Callable[[Any], Half]) -> list[Half]:
    """One entry per linked pair; each half is the message that the device at that end receives."""
    pairs = sorted({(min(pair), max(pair)) for pair in links})
    entries = []
    for a, b in pairs:
        to_a, to_b = links.get((a, b)), links.get((b, a))
        entries.append(
            {
                "a": str(a),
                "b": str(b),
                "to_a": half(to_a) if to_a else None,
                "to_b": half(to_b) if to_b else None,
            }
        )
    return entries


def _sent_half(link: LinkRecord, most_bits: int, mode: theme.Mode) -> Half:
    share = link.payload_bits / most_bits if most_bits else 0.0
    arrived = "delivered" if link.delivered else "lost"
    lines = [
        f"Device {link.sender} to {link.receiver}",
        f"{fmt.bits(link.payload_bits)}, {arrived}",
    ]
    if link.snr_db is not None:
        lines.append(f"SNR {fmt.decibel(link.snr_db)} · {fmt.rate(link.rate_bit_s)}")
        lines.append(_on_air(link))
    color = theme.snr_color(link.snr_db, mode) if link.delivered else theme.BAD.of(mode)
    width = round(1.5 + 3.0 * share, 2)
    flow = link.payload_bits > 0
    return {
        "color": color,
        "width": width,
        "lost": not link.delivered,
        "flow": flow,
        "tip": lines,
    }


def _payload(nodes: list[dict[str, Any]], pairs: list[Half], mode: theme.Mode) -> dict[str, Any]:
    present = in_order(each["task"] for each in nodes)
    low, high = theme.SNR_RANGE_DB
    colors = [theme.SNR_WEAK.of(mode), theme.SNR_STRONG.of(mode)]
    summary = f"{fmt.count(len(nodes), 'device')} · {fmt.count(len(pairs), 'link')}"
    missed = sum(bool(h and h["lost"]) for p in pairs for h in (p["to_a"], p["to_b"]))
    if missed:
        summary += f" · {missed} lost"
    return {
        "nodes": nodes,
        "links": pairs,
        "tasks": {task: task_look(task) for task in present},
        "snr": {
            "low": round(low),
            "high": round(high),
            "colors": colors,
            "lost": theme.BAD.of(mode),
        }
        if pairs
        else None,
        "summary": summary,
    }


def task_look(task: TaskName) -> dict[str, Any]:
    look = theme.TASKS[task]
    return {"title": look.title, "color": look.color, "marker": look.marker, "filled": look.filled}


# ---------- still picture for the gallery ----------

PICTURE = (130.0, 130.0)


def picture_svg(plan: Plan, mode: theme.Mode) -> str:
    """The mesh as a small picture: links in hairline colour, devices as their task's marker."""
    width, height = PICTURE
    places = _fitted([(device.x_m, device.y_m) for device in plan.devices])
    radius = 5.5 if len(places) <= 8 else 4.5 if len(places) <= 16 else 3.0
    lines = []
    for a, b in sorted({tuple(sorted((k.receiver, k.sender))) for k in plan.links}):
        (x1, y1), (x2, y2) = places[a], places[b]
        lines.append(f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}"/>')
    marks = [
        _mark(device.task, place, radius, mode)
        for device, place in zip(plan.devices, places, strict=True)
    ]
    label = escape(f"{fmt.count(len(places), 'device')}, {fmt.count(len(lines), 'link')}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img" aria-label="{label}">'
        f'<g stroke="{theme.blend(theme.HAIRLINE.of(mode), theme.MUTED.of(mode), 0.45)}" '
        f'stroke-width="1.3">{"".join(lines)}</g>{"".join(marks)}</svg>'
    )


def _fitted(places: list[tuple[float, float]]) -> list[tuple[float, float]]:
    width, height = PICTURE
    xs, ys = [x for x, _ in places], [y for _, y in places]
    wide, high = max(max(xs) - min(xs), 1.0), max(max(ys) - min(ys), 1.0)
    scale = min((width - 16) / wide, (height - 16) / high)
    mid_x, mid_y = (max(xs) + min(xs)) / 2, (max(ys) + min(ys)) / 2
    return [(width / 2 + (x - mid_x) * scale, height / 2 - (y - mid_y) * scale) for x, y in places]


def _mark(task: TaskName, place: tuple[float, float], r: float, mode: theme.Mode) -> str:
    look = theme.TASKS[task]
    x, y = place
    s, d, t = r * 0.89, r * 1.25, r * 1.3
    shapes = {
        "circle": f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}"',
        "square": f'<rect x="{x - s:.1f}" y="{y - s:.1f}" width="{2 * s:.1f}" height="{2 * s:.1f}"',
        "diamond": f'<path d="M{x:.1f} {y - d:.1f}l{d} {d}l{-d} {d}l{-d} {-d}z"',
        "triangle": f'<path d="M{x:.1f} {y - t:.1f}L{x + t:.1f} {y + 0.7 * t:.1f}H{x - t:.1f}z"',
    }
    fill = look.color if look.filled else theme.PAPER.of(mode)
    return f'{shapes[look.marker]} fill="{fill}" stroke="{look.color}" stroke-width="2"/>'
