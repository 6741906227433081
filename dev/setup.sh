#!/bin/sh
# Prepares .venv and the Kafka jars: `make setup`. Needs Python 3.11 to 3.14 with its headers, a C compiler and the
# package registries; it installs nothing outside this folder but the caches of uv, Maven's repository and the user's.
set -eu

UV_VERSION=0.13.9

say() { printf '%s\n' "setup: $*" >&2; }

# A name on the PATH may be a shim without an interpreter behind it, so each candidate has to show what it can do:
# durable-rules is compiled up to Python 3.12, and needs Python.h.
suits() {
    "$1" - 2>/dev/null <<'PYTHON'
import ensurepip, pathlib, sys, sysconfig, venv
header = pathlib.Path(sysconfig.get_path("include"), "Python.h")
sys.exit(not ((3, 11) <= sys.version_info[:2] <= (3, 14) and header.exists()))
PYTHON
}

find_python() {
    for name in python3.12 python3.11 python3.14 python3.13 python3 python; do
        old_ifs=$IFS; IFS=:
        for folder in $PATH; do
            IFS=$old_ifs
            if [ -x "$folder/$name" ] && suits "$folder/$name"; then
                printf '%s\n' "$folder/$name"
                return
            fi
        done
        IFS=$old_ifs
    done
    say "no Python 3.11 to 3.14 with venv, pip and its header files was found on the PATH"
    return 1
}

if ! suits .venv/bin/python; then
    python=$(find_python)
    say "creating .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
fi

if uv=$(command -v uv); then
    :
else
    uv=.venv/bin/uv
    [ -x "$uv" ] || { say "installing uv $UV_VERSION"; .venv/bin/python -m pip install --quiet "uv==$UV_VERSION"; }
fi

say "installing what requirements.lock names"
VIRTUAL_ENV=$PWD/.venv "$uv" pip sync --require-hashes requirements.lock

say "writing .venv/bin/stet"
cat > .venv/bin/stet <<COMMAND
#!/bin/sh
PYTHONPATH='$PWD' exec '$PWD/.venv/bin/python' -m ops "\$@"
COMMAND
chmod +x .venv/bin/stet

.venv/bin/python -m dev.kafka_jars
.venv/bin/python -m dev.kafka_aot_cache || say "brokers start without prepared classes, which takes twice as long"
