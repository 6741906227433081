"""One module for each story; ``STORIES`` in the order of the report."""

from dev.demo.stories import blocks, deadline, launch, metadata, pitch, rights, royalties, stage_change

_MODULES = (stage_change, rights, deadline, pitch, metadata, launch, royalties, blocks)
STORIES = tuple(module.STORY for module in _MODULES)
