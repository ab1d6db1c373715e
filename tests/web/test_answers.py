"""What an answer says in its head."""

from authapi.web.answers import Answer


def test_a_header_that_is_given_stands_in_the_place_of_ours() -> None:
    """Twice, each reader would believe another."""
    given = {"Content-Type": "application/problem+json", "Cache-Control": "max-age=60", "A": "b"}
    answer = Answer({}, headers=given)
    assert answer.headers.getlist("content-type") == ["application/problem+json"]
    assert answer.headers.getlist("cache-control") == ["max-age=60"]
    assert (answer.headers["content-length"], answer.headers["a"]) == ("2", "b")
