"""The playground where there is nothing to ask; what it answers is tested with a real run."""

from tests.dashboard.conftest import Opener


def test_without_runs_it_says_how_to_get_one(open_view: Opener) -> None:
    page = open_view("playground")
    assert not page.exception
    assert "No run has a finished round" in page.info[0].value


def test_without_the_api_it_says_how_to_start_it(open_without_api: Opener) -> None:
    page = open_without_api("playground")
    assert "make up" in page.error[0].value
