"""The config of a design as TOML text, which goes both ways."""

import re
import tomllib
from hashlib import sha256
from typing import Any

import streamlit as st
import tomli_w

from meshtune.dashboard.design.tree import Design
from meshtune.dashboard.look import format as fmt
from meshtune.engine.config import RunConfig
from meshtune.engine.texts import plain

TEXT_MOST = 200_000  # characters


def box(design: Design, config: RunConfig | None) -> None:
    """The TOML of the config, to read, edit and paste."""
    with st.expander("Config as TOML"):
        if config is None:
            st.caption("The form has an error; correct it to see the config, or paste another.")
        text = "" if config is None else tomli_w.dumps(config.model_dump(mode="json"))
        tag = sha256(text.encode()).hexdigest()[:12]
        given = st.text_area("TOML", text, height=320, key=f"toml-{design.version}-{tag}")
        place = st.empty()
        if st.button("Apply", key="toml-apply", disabled=given == text):
            try:
                design.restart(read(given))
            except ValueError as error:
                place.error(fmt.sentence(str(error)), icon=":material/error:")
            else:
                st.rerun()


def read(text: str) -> dict[str, Any]:
    """The tree of a TOML text; fields that it leaves out have their defaults.

    Raises:
        ValueError: it is no TOML, or names fields that no config has; one sentence says where.
    """
    if len(text) > TEXT_MOST:
        raise ValueError(
            f"this text has {len(text):,} characters and at most {TEXT_MOST:,} are read; paste the "
            "config alone"
        )
    try:
        given = tomllib.loads(plain(text))
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        place = f"line {found[1]}, column {found[2]}" if found else "the end"
        what = re.sub(r"\s*\(at .*\)", "", str(error)).lower()
        raise ValueError(f"this is no TOML at {place}: {what}") from error
    odd = sorted(set(given) - set(RunConfig.model_fields))
    if odd:
        known = ", ".join(RunConfig.model_fields)
        raise ValueError(f"a config has no part {odd[0]!r}; its parts are {known}")
    return {**RunConfig().model_dump(mode="json"), **given}
