"""The client gives models or one sentence, never an httpx error."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from meshtune.backend.schemas.runs import Health, Problem
from meshtune.dashboard.api.client import (
    BUSY_PATIENCE_S,
    ApiClient,
    ApiProblem,
    _carried,
    api,
    api_with,
    carried,
    forget,
)
from meshtune.engine.records import RunStatus
from tests.support.fake_api import FakeApi, fake_config, served

Answer = Callable[[httpx.Request], httpx.Response]


def client_that(answer: Answer) -> ApiClient:
    return ApiClient("http://api", httpx.MockTransport(answer))


def failing(error: type[httpx.TransportError]) -> Answer:
    def answer(request: httpx.Request) -> httpx.Response:
        raise error("no", request=request)

    return answer


def test_answers_become_models() -> None:
    health = Health(status="ok", version="1", database="sqlite", queued=0, running=0, workers=1)
    client = client_that(lambda _: httpx.Response(200, text=health.model_dump_json()))
    assert client.health() == health


def test_a_service_that_is_down_is_one_sentence_with_the_next_step() -> None:
    with pytest.raises(ApiProblem) as caught:
        client_that(failing(httpx.ConnectError)).health()
    assert str(caught.value) == "cannot reach the API at http://api; start it with `make up`"


def test_a_slow_service_is_told_apart_from_a_dead_one() -> None:
    with pytest.raises(ApiProblem, match="did not answer within"):
        client_that(failing(httpx.ReadTimeout)).runs()


def test_the_words_of_the_api_are_kept_and_fields_are_found() -> None:
    problem = Problem(
        error="InvalidInput",
        detail="rounds: too few",
        context={"fields": [{"field": "rounds", "message": "too few"}]},
    )
    client = client_that(lambda _: httpx.Response(422, text=problem.model_dump_json()))
    with pytest.raises(ApiProblem) as caught:
        client.create(fake_config())
    assert caught.value.status == 422
    assert caught.value.fields == {"rounds": "too few"}


@pytest.mark.parametrize("status", [200, 500])
def test_nonsense_is_refused_in_words(status: int) -> None:
    with pytest.raises(ApiProblem, match="API"):
        client_that(lambda _: httpx.Response(status, text="<html>")).run(1)


def test_all_calls_work_against_a_served_api() -> None:
    with served(FakeApi()) as url, closing(ApiClient(url)) as client:
        assert client.health().status == "ok"
        config = client.presets()[0].config
        planned = client.plan(config).plan
        assert planned is not None
        assert len(planned.devices) == config.fleet.devices
        run = client.create(config)
        assert client.runs().runs[0].id == run.id
        assert client.rounds(run.id, detail="full").rounds_total == config.rounds
        assert client.pause(run.id).status is RunStatus.PAUSED
        assert client.resume(run.id).status is RunStatus.RUNNING
        assert client.patch(run.id, note="n", priority=3).note == "n"
        assert client.create(config, cloned_from=run.id).cloned_from == run.id
        assert client.cancel(run.id).cancel_requested
        client.delete(run.id)
        assert [each.id for each in client.runs(deleted=True).runs] == [run.id]
        assert client.restore(run.id).id == run.id
        assert client.export(run.id, "csv").startswith(b"round_index")
        with pytest.raises(ApiProblem, match="no run 77"):
            client.run(77)


def test_the_token_of_the_server_is_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESHTUNE_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("MESHTUNE_TOKEN", "of-the-server")
    (tmp_path / "dashboard.token").write_text("of-the-server\n")
    assert api()._token is None
    forget()


def test_what_is_made_later_shows_the_token_of_the_one_who_asked() -> None:
    mine = api_with("mine")
    with_mine = _carried.set(mine)
    later = carried(lambda: api()._token)
    _carried.reset(with_mine)
    assert api()._token is None
    assert later() == "mine"
    assert api()._token is None
    forget()


def test_every_request_shows_the_token() -> None:
    seen: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("authorization"))
        return httpx.Response(200, json=[])

    for token in ("secret", None):
        ApiClient("http://api", httpx.MockTransport(answer), token=token).presets()
    assert seen == ["Bearer secret", None]


def busy_for(times: int, told: dict[str, str], calls: list[str], status: int = 503) -> Answer:
    """An API that refuses so many times and then answers."""

    def answer(request: httpx.Request) -> httpx.Response:
        calls.append(request.method)
        if len(calls) <= times:
            problem = Problem(error="Busy", detail="it plans as much as it can", context={})
            return httpx.Response(status, text=problem.model_dump_json(), headers=told)
        return httpx.Response(200, json=[])

    return answer


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_api_is_asked_again_when_it_said(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    waits_s: list[float] = []
    monkeypatch.setattr("time.sleep", waits_s.append)
    calls: list[str] = []
    assert client_that(busy_for(2, {"retry-after": "3"}, calls, status)).presets() == []
    assert (len(calls), waits_s) == (3, [3.0, 3.0])


@pytest.mark.parametrize("told", ["1", "0", "4", "600"])
def test_an_api_that_stays_busy_is_reported_after_a_bounded_time(
    monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    waits_s: list[float] = []
    monkeypatch.setattr("time.sleep", waits_s.append)
    with pytest.raises(ApiProblem, match="as much as it can"):
        client_that(busy_for(10**6, {"retry-after": told}, [])).presets()
    assert sum(waits_s) <= BUSY_PATIENCE_S
    assert len(waits_s) <= BUSY_PATIENCE_S


@pytest.mark.parametrize("told", [{}, {"retry-after": "Fri, 01 Jan 2027 00:00:00 GMT"}])
def test_an_api_that_does_not_say_when_is_not_asked_again(told: dict[str, str]) -> None:
    calls: list[str] = []
    with pytest.raises(ApiProblem):
        client_that(busy_for(1, told, calls)).presets()
    assert len(calls) == 1
