"""What the tests of the figures read off a picture."""

from matplotlib.figure import Figure


def texts_of(picture: Figure):
    """Boxes in pixels of all visible texts outside the tick labels, by text."""
    picture.draw_without_rendering()
    found = [*picture.texts, *(text for axes in picture.axes for text in (*axes.texts, axes.title, axes.xaxis.label))]
    found += [axes._left_title for axes in picture.axes]  # pyright: ignore[reportAttributeAccessIssue]
    found += [text for legend in picture.legends for text in legend.get_texts()]
    return [(text.get_text(), text.get_window_extent()) for text in found if text.get_text()]


def check_apart(picture: Figure) -> None:
    """No text overlaps another one or is cut off."""
    boxes = texts_of(picture)
    width, height = picture.bbox.width, picture.bbox.height
    for i, (text, box) in enumerate(boxes):
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, text
        for other, other_box in boxes[:i]:
            assert not box.overlaps(other_box), (text, other)
