// Where an arrow of the shown picture runs through a workload that is at neither of its ends, a word leaves its box, or
// two words meet.
(() => {
  const svg = [...document.querySelectorAll("svg")].find((one) => one.getBoundingClientRect().width);
  const found = new Set();
  const within = (at, from, length) => at > from && at < from + length;
  const inside = (point, box) => within(point.x, box.x, box.width) && within(point.y, box.y, box.height);
  // Letters are smaller than their line: a shared pixel or three between two lines is no clash.
  const meet = (a, b) =>
    a.x + 1 < b.x + b.width && b.x + 1 < a.x + a.width && a.y + 3 < b.y + b.height && b.y + 3 < a.y + a.height;
  const holds = (box, words) => words.x + words.width <= box.x + box.width && words.y + words.height <= box.y + box.height;

  const workloads = [...svg.querySelectorAll(".workload")].map((group) => ({
    name: group.dataset.workload,
    box: group.querySelector("rect").getBBox(),
    words: [...group.querySelectorAll("text")],
  }));
  for (const flow of svg.querySelectorAll(".flow")) {
    const { source, target } = flow.dataset;
    const path = flow.querySelector("path");
    for (let at = 0; at < path.getTotalLength(); at += 4) {
      for (const { name, box } of workloads) {
        if (name === source || name === target || !inside(path.getPointAtLength(at), box)) continue;
        found.add(`${source} -> ${target} runs through ${name}`);
      }
    }
  }
  for (const { name, box, words } of workloads) {
    for (const text of words) if (!holds(box, text.getBBox())) found.add(`${name}: ${text.textContent} leaves its box`);
  }
  const texts = [...svg.querySelectorAll("text")].map((text) => [text.textContent, text.getBBox()]);
  texts.forEach(([one, box], index) => {
    for (const [other, beside] of texts.slice(index + 1)) if (meet(box, beside)) found.add(`${one} meets ${other}`);
  });
  return [...found];
})()
