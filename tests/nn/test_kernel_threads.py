"""The kernels' own team of threads: shared by callers, gone and made anew after a fork, never waited for in vain."""

import subprocess
import sys
import threading

import pytest
import torch

from enfold.nn import kernels

pytestmark = pytest.mark.skipif(
    kernels.available() is None, reason="the native kernels are turned off (ENFOLD_KERNELS=0)"
)


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_callers_in_many_threads_get_what_one_gets(two_threads):
    torch.manual_seed(0)
    x, weight = torch.randn(4, 512), torch.randn(4096, 512)
    with torch.no_grad():
        expected = kernels.linear(x, weight)
    wrong = []

    def call():
        with torch.no_grad():
            for _ in range(200):
                if not torch.equal(kernels.linear(x, weight), expected):
                    wrong.append(threading.get_ident())

    callers = [threading.Thread(target=call) for _ in range(6)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(timeout=120)
    assert not any(caller.is_alive() for caller in callers)
    assert wrong == []


def test_as_many_threads_as_asked_for_give_one_answer(two_threads):
    torch.manual_seed(0)
    x, weight = torch.randn(3, 256), torch.randn(30000, 256)
    with torch.no_grad():
        answers = []
        for count in (1, 2, 3, 8, 2, 1):
            torch.set_num_threads(count)
            answers.append(kernels.linear(x, weight))
    assert all(torch.equal(answer, answers[0]) for answer in answers)


FORK = """
import os, torch
from enfold.nn import kernels
torch.set_num_threads(2)
x, weight = torch.randn(4, 512), torch.randn(8192, 512)
with torch.no_grad():
    expected = kernels.linear(x, weight)
    for generation in range(2):
        child = os.fork()
        if child:
            _, status = os.waitpid(child, 0)
            os._exit(os.waitstatus_to_exitcode(status))
        for _ in range(50):
            assert torch.equal(kernels.linear(x, weight), expected)
os._exit(0)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no fork on Windows")
def test_a_forked_child_has_a_team_of_its_own():
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
