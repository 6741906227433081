"""The commands an operator has, run beside a stack as they would be in production."""

import asyncio
import sys

from dev.demo.simulators import DemoStack
from dev.layout import ROOT
from dev.stack import Stack


async def run_tool(stack: DemoStack, module: str, *arguments: str) -> str:
    """The output of ``python -m module`` with the settings of the services; it has to succeed."""
    assert isinstance(stack, Stack), "the commands run beside processes of this machine"
    environment = stack.layout.settings(stack.neighbours) | {"COLUMNS": "200", "PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, env=environment, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, f"{module} {' '.join(arguments)} ended with {process.returncode}"
    return printed.decode()
