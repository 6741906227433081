"""One module a story; ``STORIES`` in the order in which they are told."""

from dev.demo.stories import rights, stage_change

STORIES = (stage_change.STORY, rights.STORY)
