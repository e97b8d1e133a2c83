"""This file is how state is shown: a condition says what is the case, since when, why, and what to do about it."""

from pydantic import AwareDatetime, Field

from gateway.contract.shapes import Report, Sentence


class Condition(Report):
    """One thing that is the case with something."""

    type: str = Field(max_length=60, description="what kind of condition; stable, such as cloned or rolled-back")
    message: Sentence = Field(description="what is the case, one sentence")
    remedy: Sentence = Field(description="what to do about it, one sentence")
    since: AwareDatetime
