"""The images: ``make image`` builds them, and the build itself calls what makes ``stet`` small.

__main__.py and build.py run on a developer's machine. runtime_root.py, bytecode.py and babel_data.py are steps of the
Dockerfile, in which nothing of dev/ but them is there; docs/operations/image.md says what is in the images.
"""
