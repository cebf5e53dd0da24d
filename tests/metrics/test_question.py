"""Threads that ask, and a loop that answers or does not."""

import threading
from collections.abc import Iterator

import pytest

from pcap_zmq.metrics.question import Question
from pcap_zmq.poll import Poller
from testbed.waiting import wait_until


@pytest.fixture
def question() -> Iterator[Question[str]]:
    question = Question("old")
    yield question
    question.close()


def asking(question: Question[str], answers: list[str]) -> threading.Thread:
    thread = threading.Thread(target=lambda: answers.append(question.ask()))
    thread.start()
    return thread


def test_without_an_answer_the_last_one_has_to_do(question: Question[str]) -> None:
    assert question.ask() == "old"
    assert question.is_asked
    question.answer("new")
    assert question.ask() == "new"


def test_a_question_wakes_the_loop_and_its_answer_everybody_who_asked(
    question: Question[str],
) -> None:
    answers: list[str] = []
    threads = [asking(question, answers) for _ in range(3)]
    Poller().wait(question.watch(), 20_000_000_000)
    wait_until(lambda: question.is_asked, 20, "a question")
    while any(thread.is_alive() for thread in threads):
        # Whoever asks only now gets this one.
        question.answer("new")
    assert answers == ["new"] * 3


def test_an_answered_question_wakes_nobody(question: Question[str]) -> None:
    question.answer("unasked")
    assert not question.is_asked
    thread = asking(question, [])
    wait_until(lambda: question.is_asked, 20, "a question")
    question.answer("new")
    thread.join()
    (watch,) = question.watch()
    assert not isinstance(watch.pollable, int) or not _is_readable(watch.pollable)


def test_after_the_end_there_is_the_last_answer_at_once(
    question: Question[str],
) -> None:
    """Its descriptors may be somebody else's by then."""
    question.close()
    assert question.ask() == "old"
    assert not question.is_asked


def _is_readable(descriptor: int) -> bool:
    import select

    return bool(select.select([descriptor], [], [], 0)[0])
