"""Meshtune: wireless, decentralized, federated multi-task fine-tuning with LoRA.

Loads nothing: whoever needs the engine, the store, the API or the dashboard imports that.
"""

from importlib.metadata import version

__version__ = version("meshtune")
