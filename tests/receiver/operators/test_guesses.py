from receiver.operators.guesses import MOST_REMEMBERED, MOST_TRIES, Guesses


def test_tries_are_forgotten_after_a_minute() -> None:
    now = [0.0]
    guesses = Guesses(lambda: now[0])
    assert [guesses.wait_seconds("a", "p") for _ in range(MOST_TRIES)] == [0] * MOST_TRIES
    assert guesses.wait_seconds("a", "p") == 61

    now[0] = 60.0

    assert guesses.wait_seconds("a", "p") == 0


def test_a_flood_of_names_does_not_fill_the_memory() -> None:
    guesses = Guesses()
    for number in range(MOST_REMEMBERED + 50):
        guesses.wait_seconds(str(number), "p")

    assert len(guesses._tries) == MOST_REMEMBERED
