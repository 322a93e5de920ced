"""The tokenizer of a model folder without transformers, whose import takes seconds."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Rules

from meshtune.engine.errors import AssetMissing, ConfigMismatch

LONGEST = 2**31  # tokenizers without a limit say a number that no machine counts to


class Tokenizer:
    """Reads `tokenizer.json` and the names of the special tokens beside it.

    Gives the ids that `transformers.AutoTokenizer` gives for the same folder; it is asked in the
    same words.
    """

    def __init__(self, folder: Path) -> None:
        self._rules: Rules = Rules.from_file(str(folder / "tokenizer.json"))
        told = _told_in(folder)
        eos = self._special(told, "eos_token")
        if eos is None:
            raise ConfigMismatch(
                f"the tokenizer in {folder} names no eos_token; write one into "
                "tokenizer_config.json"
            )
        bos, pad = self._special(told, "bos_token"), self._special(told, "pad_token")
        # Where nothing begins a text or fills it up, its end does: both only have to be there.
        self.eos_token_id = eos
        self.bos_token_id = eos if bos is None else bos
        self.pad_token_id = eos if pad is None else pad
        self.unk_token_id = self._special(told, "unk_token")
        self.model_max_length = int(min(told.get("model_max_length") or LONGEST, LONGEST))

    def _special(self, told: dict[str, Any], name: str) -> int | None:
        """The id of a special token; None where there is none."""
        token = told.get(name)
        text = token.get("content") if isinstance(token, dict) else token
        return None if text is None else self._rules.token_to_id(str(text))

    def __call__(self, text: Any, *, add_special_tokens: bool) -> dict[str, Any]:
        """Token ids of a text, or of each of a list of texts, as `input_ids`."""
        if isinstance(text, str):
            return {"input_ids": self.encode(text, add_special_tokens=add_special_tokens)}
        found = self._rules.encode_batch_fast(text, add_special_tokens=add_special_tokens)
        return {"input_ids": [each.ids for each in found]}

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Token ids of one text."""
        ids: list[int] = self._rules.encode(text, add_special_tokens=add_special_tokens).ids
        return ids

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of token ids, special tokens included."""
        return str(self._rules.decode(list(tokens), skip_special_tokens=False))

    def get_vocab(self) -> dict[str, int]:
        """Every token and its id."""
        vocabulary: dict[str, int] = self._rules.get_vocab()
        return vocabulary


def _told_in(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer_config.json"
    if not path.is_file():
        raise AssetMissing(f"{folder} has no tokenizer_config.json; copy it beside tokenizer.json")
    told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return told
