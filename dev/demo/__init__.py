"""The eight stories, played side by side through a stack of their own: ``make demo``. The flow tests play them too.

``stories/`` says what happens and what must follow; ``stage`` has the verbs, ``timeline`` moves business time, and
``result`` brings them together and asks at the end whether anything was lost, doubled or left behind.
"""
