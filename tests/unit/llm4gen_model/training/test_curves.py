from llm4gen_model.training.curves import HEIGHT, MAX_POINTS, WIDTH, chart, running_mean


def test_lines_stay_within_the_picture_and_keep_their_values() -> None:
    drawn = chart("Validation loss", {"val_loss": [(10, 0.3), (20, 0.2)]}, 40, level=0.25)
    assert drawn is not None
    (line,) = drawn["lines"]
    assert [point[:2] for point in line["points"]] == [[10, 0.3], [20, 0.2]]
    (left, high), (right, low) = ((x, y) for _, _, x, y in line["points"])
    assert 0 < left < right < WIDTH / 2 + 30  # half of the steps are still to come
    assert 0 < high < drawn["level"]["y"] < low < HEIGHT
    assert drawn["beyond"] is None
    assert drawn["spoken"] == "Validation loss: 0.3 at step 10, 0.2 at 20"


def test_a_spike_does_not_flatten_the_rest() -> None:
    points = [(float(step), 900.0 if step == 70 else 1 + step / 1000) for step in range(200)]
    drawn = chart("Gradient norm", {"grad_norm": points}, 200)
    assert drawn is not None
    assert drawn["beyond"] == 900
    heights = [y for step, _, _, y in drawn["lines"][0]["points"] if step != 70]
    assert max(heights) - min(heights) > 20
    assert all(0 <= y <= HEIGHT for _, y in [(0, float(y)) for y, _ in drawn["y_ticks"]])


def test_a_long_run_is_drawn_with_few_points_and_a_running_mean() -> None:
    points = [(float(step), float(step % 2)) for step in range(1, 5001)]
    drawn = chart("Loss", {"loss": points}, 5000, smooth="loss")
    assert drawn is not None
    raw, smooth = drawn["lines"]
    assert (raw["is_faint"], smooth["is_faint"]) == (True, False)
    assert len(raw["points"]) <= MAX_POINTS
    assert raw["points"][-1][0] == 5000
    assert abs(smooth["points"][-1][1] - 0.5) < 0.05
    assert running_mean([(1, 1.0), (2, 3.0)]) == [(1, 1.0), (2, 3.0)]


def test_constant_and_missing_values_are_no_error() -> None:
    assert chart("Loss", {"loss": []}, 0) is None
    for value in (0.0, 2.0, -1.0):
        drawn = chart("Loss", {"loss": [(1, value)]}, 1)
        assert drawn is not None
        assert 0 <= drawn["lines"][0]["points"][0][3] <= HEIGHT
