"""The tokenizer of the embedded model without transformers, whose import takes seconds."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Rules


class Tokenizer:
    """Reads `tokenizer.json` and the names of the special tokens beside it.

    Gives the ids that `transformers.AutoTokenizer` gives for the same folder; it is asked in the
    same words.
    """

    def __init__(self, folder: Path) -> None:
        self._rules: Rules = Rules.from_file(str(folder / "tokenizer.json"))
        told = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        vocabulary = self.get_vocab()
        self.bos_token_id, self.eos_token_id, self.pad_token_id, self.unk_token_id = (
            vocabulary[told[f"{name}_token"]] for name in ("bos", "eos", "pad", "unk")
        )
        self.model_max_length = int(told["model_max_length"])

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
