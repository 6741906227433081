"""The eight stories, played side by side through a stack of their own: ``make demo``. The flow tests play them too.

``stories/`` has a module for each story: what happens and what must follow. ``story_run.py`` has the actions and the
expected effects, ``timeline.py`` moves business time, and ``runner.py`` plays the stories and checks at the end whether
anything was lost, doubled or left behind.
"""
