"""Views opened as a browser would, by name and address, without a browser.

Streamlit reads its pages, compiles them and looks through all installed packages for components
once in the life of a server; a test that begins anew would do it for every page that it opens.
"""

from pathlib import Path

import pytest
from streamlit.components.v2.component_manager import BidiComponentManager
from streamlit.runtime.scriptrunner.script_cache import ScriptCache
from streamlit.testing.v1 import AppTest, app_test

from meshtune import dashboard

APP = Path(dashboard.__file__).with_name("app.py")


class Views:
    """What a server keeps for all sessions; each view that is opened is a session of its own."""

    def __init__(self) -> None:
        self._components = BidiComponentManager()
        self._components.discover_and_register_components(start_file_watching=False)
        self._compiled = ScriptCache()
        self._pages = self.fresh().run()._registered_pages

    def keep_compiled(self, patch: pytest.MonkeyPatch) -> None:
        """Have every run of a page take its code from here."""
        patch.setattr(app_test, "ScriptCache", lambda: self._compiled)

    def fresh(self) -> AppTest:
        """A session that has opened nothing yet."""
        page = AppTest.from_file(str(APP), default_timeout=60)
        page._bidi_component_manager = self._components
        return page

    def opened(self, view: str, **parameters: object) -> AppTest:
        """`opened("run", run=3)` opens `/run?run=3`, as the first page of a session."""
        page = self.fresh()
        page._registered_pages = self._pages
        if view != "gallery":
            page.switch_page(f"{view}/view.py")
        for name, value in parameters.items():
            page.query_params[name] = str(value)
        page.run()
        assert not page.exception, page.exception
        return page
