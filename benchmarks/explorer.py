"""How smoothly the explorer moves: times between frames of a Chromium while something is dragged, in ms.

`python -m benchmarks.explorer explorer.html [--points 2000]` opens the file, shows as many points in every plane (the
file's own rows over and over, a little apart) and drives it by mouse and scrolling. 16.7 ms is a frame at 60 Hz; what a
plane costs to paint is measured apart, since a shared machine adds to the rest (the least is the machine's own).
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

ARGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]

_MORE_POINTS = """(count) => {
  const { model, store } = dmdlab.page.now;
  const { points } = model.scene;
  const random = dmdlab.numerics.generator(1);
  const kept = new Map();
  model.scene.points = (id) => {
    if (!kept.has(id)) {
      const known = points(id);
      const more = (array) => array && Float64Array.from({ length: 2 * count },
        (_, i) => array[i % array.length] * (1 + 0.03 * random.normal()));
      const all = Object.entries(known).map(([key, array]) => [key, key === "n" ? count : more(array)]);
      kept.set(id, Object.fromEntries(all));
    }
    return kept.get(id);
  };
  dispatchEvent(new Event("beforeprint"));
  dispatchEvent(new Event("afterprint"));
  const other = model.living.find((run) => run.id !== store.get("run"));
  if (other) store.set({ run: other.id });
}"""

_WATCH = """() => {
  const times = (globalThis.frames = []);
  let last = performance.now();
  globalThis.watching = true;
  const tick = (now) => {
    times.push(now - last);
    last = now;
    if (globalThis.watching) requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
}"""

_WATCHED = "() => ((globalThis.watching = false), globalThis.frames.slice(2))"

_PAINT = """(count) => {
  const random = dmdlab.numerics.generator(2);
  const points = random.normals(2 * count);
  const colours = dmdlab.page.theme.ofNoise(points, 1);
  const paint = (pen) => pen.dots(points, colours, 2.6);
  const extent = () => ({ centre: [0, 0], half: 4 });
  const plane = dmdlab.page.plane.create({ title: "", label: "benchmark", extent, paint });
  document.querySelector("main").prepend(plane.node);
  const read = () => plane.canvas.getContext("2d").getImageData(0, 0, 1, 1);
  const times = [];
  for (let i = 0; i < 40; i++) {
    const began = performance.now();
    plane.paintNow();
    read();
    times.push(performance.now() - began);
  }
  plane.node.remove();
  return times.slice(5);
}"""


def measure(path: Path, points: int) -> dict[str, dict[str, float]]:
    """What is dragged -> least, median and 95 % time between frames in ms."""
    from playwright.sync_api import sync_playwright

    found: dict[str, list[float]] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(120_000)
        page.goto(path.resolve().as_uri())
        page.wait_for_selector("html[data-ready]", state="attached")
        page.wait_for_timeout(2500)
        found["one plane painted"] = page.evaluate(_PAINT, points)
        page.evaluate(_MORE_POINTS, points)
        page.wait_for_timeout(2500)
        found["hovering the noise"] = _watched(page, _hover)
        found["scrolling the story"] = _watched(page, _scroll)
        found["training, played slowly"] = _watched(page, _play)
        browser.close()
    return {name: _summary(times) for name, times in found.items()}


def _watched(page: Any, drive: Any) -> list[float]:
    before = drive(page, True)
    page.evaluate(_WATCH)
    drive(page, False, before)
    times: list[float] = page.evaluate(_WATCHED)
    return times


def _hover(page: Any, prepare: bool, box: Any = None) -> Any:
    if prepare:
        plane = page.locator("#noise canvas").first
        plane.scroll_into_view_if_needed()
        page.wait_for_timeout(500)
        return plane.bounding_box()
    for i in range(80):
        page.mouse.move(box["x"] + box["width"] * (0.2 + 0.007 * i), box["y"] + box["height"] * (0.3 + 0.004 * i))
    return None


def _scroll(page: Any, prepare: bool, _: Any = None) -> Any:
    if prepare:
        page.evaluate("scrollTo({top: 0, behavior: 'instant'})")
        page.wait_for_timeout(1500)
        return None
    for _ in range(60):
        page.mouse.wheel(0, 50)
        page.wait_for_timeout(5)
    return None


def _play(page: Any, prepare: bool, _: Any = None) -> Any:
    if prepare:
        page.locator("#training canvas").first.scroll_into_view_if_needed()
        page.wait_for_timeout(4000)
        return None
    page.locator("#training").get_by_text("Slowly").click()
    page.wait_for_timeout(3000)
    return None


def _summary(times: list[float]) -> dict[str, float]:
    ordered = sorted(times)
    at = {"least": 0.0, "median": 0.5, "95 %": 0.95}
    return {name: round(ordered[min(len(ordered) - 1, int(q * len(ordered)))], 1) for name, q in at.items()}


def main() -> None:
    """Measures one file and prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--points", type=int, default=2000)
    asked = parser.parse_args()
    print(json.dumps({"points": asked.points, "ms": measure(asked.file, asked.points)}, indent=1))


if __name__ == "__main__":
    main()
