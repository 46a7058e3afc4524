// Tables sort by a click on a column's heading, or by Enter and Space on it. What has no number comes last.
document.querySelectorAll("table.sortable").forEach((table) => {
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const descending = heading.getAttribute("aria-sort") === "ascending";
      headings.forEach((other) => other.setAttribute("aria-sort", "none"));
      heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const sign = descending ? -1 : 1;
      const keyed = [...body.rows].map((row) => {
        const cell = row.cells[column];
        const given = cell.dataset.value;
        return { row, number: given ? Number(given.replace("inf", "Infinity")) : null, text: cell.textContent.trim() };
      });
      const numeric = keyed.some((one) => one.number !== null);
      const none = (one) => (numeric ? one.number === null : one.text === "–");
      keyed.sort((one, other) => {
        if (none(one) || none(other)) return none(one) - none(other);
        if (!numeric) return sign * one.text.localeCompare(other.text, "en", { numeric: true });
        return one.number === other.number ? 0 : sign * (one.number < other.number ? -1 : 1);
      });
      body.append(...keyed.map((one) => one.row));
    });
  });
});
// What scrolls sideways says so, also after a fold was opened or the window changed.
const mark = () => document.querySelectorAll(".scroll").forEach((each) => {
  each.toggleAttribute("data-cut", each.scrollWidth > each.clientWidth + 1);
});
addEventListener("load", mark);
addEventListener("resize", mark);
document.querySelectorAll("details").forEach((each) => each.addEventListener("toggle", mark));
// On paper nothing can be opened.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => { each.open = true; }));
