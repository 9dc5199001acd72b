// Headings of tables become buttons that sort by their column. All is there to be read without this.
(() => {
  "use strict";
  const unit = { k: 1e3, M: 1e6, G: 1e9 };
  const number = (text) => {
    const found = /^~?([-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?)\s?([kMG])?/.exec(text);
    return found ? Number(found[1]) * (unit[found[2]] ?? 1) : null;
  };
  const shown = (row, column) => row.cells[column]?.textContent.trim() ?? "";
  const compare = (a, b, isNumber) => {
    if (!isNumber) return a.localeCompare(b, "en", { numeric: true });
    const [x, y] = [number(a), number(b)];
    if (x === null || y === null) return (x === null) - (y === null);
    return x - y;
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0];
    if (body.rows.length < 2) continue;
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const falls = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", falls ? "descending" : "ascending");
        const isNumber = head.classList.contains("right");
        const missing = (row) => isNumber && number(shown(row, column)) === null;
        const rows = [...body.rows].sort((a, b) => {
          if (missing(a) || missing(b)) return missing(a) - missing(b); // what has no figure stays below
          const order = compare(shown(a, column), shown(b, column), isNumber);
          return falls ? -order : order;
        });
        body.append(...rows);
      });
    });
  }
})();
