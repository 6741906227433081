"""One module a story; ``STORIES`` in the order in which they are told."""

from dev.demo.stories import blocks, deadline, launch, metadata, pitch, rights, royalties, stage_change

_TOLD = (stage_change, rights, deadline, pitch, metadata, launch, royalties, blocks)
STORIES = tuple(module.STORY for module in _TOLD)
