"""Neighbors: exact similarities, and texts that stand whole in others."""

from llm4gen_data.densprompts.neighbors import Neighbors

SHORT, LONG = "one two three four five six seven", "red green blue white black gray pink brown"


def test_the_closest_is_found_with_its_number() -> None:
    neighbors = Neighbors()
    for text in (SHORT, LONG):
        neighbors.add(text)
    assert neighbors.closest("Red, green: blue white black gray pink BROWN!") == (1.0, 1)
    assert neighbors.closest("one two three four five six eight") == (2 / 4, 0)
    assert neighbors.closest("nothing of this kind is known at all") == (0.0, None)


def test_a_text_that_stands_whole_in_another_is_contained() -> None:
    neighbors = Neighbors()
    for text in (SHORT, LONG, "too short"):
        neighbors.add(text)
    assert neighbors.contained(f"and then {SHORT} and on") == [0]
    assert neighbors.contained("one two three four five nine seven") == []
    assert neighbors.closest("Too short.") == (1.0, 2)
