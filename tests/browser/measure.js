// What can only be measured inside the page. Each function that looks for faults gives one line for each of them.
globalThis.measure = (() => {
  const shorten = (text) => {
    const plain = (text || "").replace(/\s+/g, " ").trim();
    return plain.length > 40 ? `${plain.slice(0, 39)}…` : plain;
  };
  const describe = (element) => {
    const id = element.id ? `#${element.id}` : "";
    const text = shorten(element.textContent);
    return `<${element.localName}${id}>${text ? ` "${text}"` : ""}`;
  };
  const all = (selector) => [...document.querySelectorAll(selector)];
  // What only screen readers see is cut down to a pixel.
  const forReaders = (element) => {
    for (let e = element; e && e !== document.body; e = e.parentElement) {
      const { width, height } = e.getBoundingClientRect();
      const style = getComputedStyle(e);
      if (width <= 1 && height <= 1 && style.overflowX !== "visible") return true;
    }
    return false;
  };
  const shown = (element) =>
    element.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true }) && !forReaders(element);
  const boxes = (node) => {
    if (node.nodeType !== Node.TEXT_NODE) return [...node.getClientRects()];
    const range = document.createRange();
    range.selectNodeContents(node);
    return [...range.getClientRects()];
  };
  const texts = (root = document.body) => {
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    const found = [];
    while (walker.nextNode()) {
      const node = walker.currentNode;
      const skipped = node.parentElement.closest("svg, script, style, noscript, template, option");
      if (node.textContent.trim() && !skipped) found.push(node);
    }
    return found;
  };
  const elementOf = (node) => (node.nodeType === Node.TEXT_NODE ? node.parentElement : node);
  const visible = (node) =>
    shown(elementOf(node)) &&
    boxes(node).some((box) => box.width > 0 && box.height > 0);
  const settle = () => {
    for (const animation of document.getAnimations()) {
      try { animation.finish(); } catch { /* one without an end */ }
    }
  };
  const withOpenDetails = (measured) => {
    const closed = all("details:not([open])");
    closed.forEach((details) => { details.open = true; });
    try { return measured(); } finally { closed.forEach((details) => { details.open = false; }); }
  };

  // ---- width ----------------------------------------------------------------------------------------------------
  // On paper nothing scrolls: what a container would scroll is lost.
  const overflow = (printed) => withOpenDetails(() => {
    const width = document.documentElement.clientWidth;
    const problems = [];
    const wide = document.documentElement.scrollWidth;
    if (wide > innerWidth) problems.push(`the page is ${wide} pixels wide in a window of ${innerWidth}`);
    const scrolls = (element) =>
      !printed && element !== document.body && /auto|scroll/.test(getComputedStyle(element).overflowX);
    const visit = (element) => {
      if (!shown(element)) return;
      const style = getComputedStyle(element);
      const cut = printed ? /auto|scroll|hidden|clip/ : /hidden|clip/;
      const root = element === document.body;
      if (!root && cut.test(style.overflowX) && element.clientWidth > 1 && style.textOverflow !== "ellipsis") {
        const lost = element.scrollWidth - element.clientWidth;
        if (lost > 1) problems.push(`${describe(element)} cuts off ${lost} pixels of its content`);
      }
      if (scrolls(element)) return;
      for (const child of element.childNodes) {
        if (child.nodeType === Node.TEXT_NODE ? !child.textContent.trim() : !child.localName) continue;
        const right = Math.max(0, ...boxes(child).filter((box) => box.width > 0).map((box) => box.right + scrollX));
        if (right > width + 0.5) {
          const named = child.localName ? child : element;
          problems.push(`${describe(named)} sticks out to ${Math.round(right)} of ${width} pixels`);
        } else if (child.localName && child.localName !== "svg") visit(child);
      }
    };
    visit(document.body);
    return problems;
  });

  // ---- contrast -------------------------------------------------------------------------------------------------
  const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const colours = new Map();
  const rgba = (text) => {
    if (!colours.has(text)) {
      const plain = text.match(/^rgba?\(([\d.]+), ([\d.]+), ([\d.]+)(?:, ([\d.]+))?\)$/);
      if (plain) colours.set(text, [+plain[1], +plain[2], +plain[3], plain[4] === undefined ? 1 : +plain[4]]);
      else {
        context.clearRect(0, 0, 1, 1);
        context.fillStyle = text;
        context.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
        colours.set(text, [r, g, b, a / 255]);
      }
    }
    return colours.get(text);
  };
  const over = ([r, g, b, a], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a)];
  const luminance = (colour) => {
    const [r, g, b] = colour.map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => {
    const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  // What the window shows where the page paints nothing: white, or dark where the page says color-scheme.
  const emptyWindow = () => {
    const probe = document.documentElement.appendChild(document.createElement("i"));
    probe.style.cssText = "background: Canvas; position: absolute";
    const colour = rgba(getComputedStyle(probe).backgroundColor);
    probe.remove();
    return colour.slice(0, 3);
  };
  // The colours of an element's text and of what lies behind it, with every ancestor's background and opacity.
  const painted = (element, text, onPaper) => {
    const chain = [];
    for (let e = element; e; e = e.parentElement) chain.unshift(getComputedStyle(e));
    const paint = (depth, behind) => {
      const style = chain[depth];
      const kept = !onPaper || style.printColorAdjust === "exact";
      const background = kept ? over(rgba(style.backgroundColor), behind) : behind;
      const inner = depth + 1 < chain.length
        ? paint(depth + 1, background)
        : { background, text: over(rgba(text), background) };
      const opacity = +style.opacity;
      const faded = (colour) => over([...colour, opacity], behind);
      return { background: faded(inner.background), text: faded(inner.text) };
    };
    return paint(0, onPaper ? [255, 255, 255] : emptyWindow());
  };
  const overImage = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const style = getComputedStyle(e);
      if (style.backgroundImage !== "none") return true;
      if (rgba(style.backgroundColor)[3] === 1) return false;
    }
    return false;
  };
  // Browsers leave backgrounds out on paper, unless print-color-adjust is exact.
  const contrast = (least, onPaper) => withOpenDetails(() => {
    settle();
    const problems = new Set();
    const judge = (element, colour, needed, what) => {
      if (overImage(element) && !onPaper) {
        problems.add(`${describe(element)} stands over a background image: its contrast is not known`);
        return;
      }
      const { text, background } = painted(element, colour, onPaper);
      const found = ratio(text, background);
      if (found < needed - 0.005) {
        const [front, behind] = [text, background].map((c) => `rgb(${c.map(Math.round).join(" ")})`);
        const figures = `${front} on ${behind}, contrast ${found.toFixed(2)} < ${needed}`;
        problems.add(`${what} of ${describe(element)}: ${figures}`);
      }
    };
    for (const node of texts()) {
      const parent = node.parentElement;
      if (visible(node)) judge(parent, getComputedStyle(parent).webkitTextFillColor, least, "text");
    }
    for (const element of all("body *:not(svg *)")) {
      if (!shown(element)) continue;
      for (const pseudo of ["::before", "::after"]) {
        const style = getComputedStyle(element, pseudo);
        const content = style.content.replace(/^"|"$/g, "").trim();
        if (/^(none|normal|)$/.test(content) || /^(url|counter)/.test(content) || style.display === "none") continue;
        // An arrow is a picture, for which 3 is enough.
        if (+style.opacity > 0) {
          judge(element, style.webkitTextFillColor, /[\p{L}\p{N}]/u.test(content) ? least : 3, pseudo);
        }
      }
      if (element.matches("input:not([type=checkbox], [type=radio], [type=range]), select, textarea")) {
        const empty = "placeholder" in element && !element.value && element.placeholder;
        const style = getComputedStyle(element, empty ? "::placeholder" : null);
        judge(element, style.webkitTextFillColor, least, empty ? "placeholder" : "value");
      }
    }
    return [...problems];
  });
  const brightness = () => luminance(painted(document.body, "black", false).background);

  // ---- structure ------------------------------------------------------------------------------------------------
  const named = (element) => {
    const ids = (element.getAttribute("aria-labelledby") || "").split(/\s+/).filter(Boolean);
    const labelled = ids.map((id) => document.getElementById(id)?.textContent || "").join(" ");
    return Boolean((element.getAttribute("aria-label") || labelled).trim());
  };
  const structure = () => {
    const problems = [];
    const need = (holds, line) => { if (!holds) problems.push(line); };
    need(document.documentElement.lang, "<html> has no lang");
    need(document.title.trim(), "the page has no title");
    const viewport = document.querySelector("meta[name=viewport]")?.content || "";
    need(/width\s*=\s*device-width/.test(viewport), "no meta viewport with width=device-width");
    need(!/user-scalable\s*=\s*(no|0)|maximum-scale/.test(viewport), "the meta viewport forbids zooming");
    const skip = all("a[href^='#']").find((a) => a.hash.length > 1 && document.querySelector(a.hash));
    const skips = skip && skip === document.querySelector("a[href], button, input, select, summary");
    need(skips || document.querySelector("main, [role=main]"), "neither a main landmark nor a skip link");
    const headings = all("h1, h2, h3, h4, h5, h6").filter((heading) => !heading.closest("[hidden]"));
    const first = headings.filter((heading) => heading.localName === "h1").length;
    need(first === 1, `${first} h1 instead of one`);
    let level = 0;
    for (const heading of headings) {
      const own = +heading.localName[1];
      need(own <= level + 1, `${describe(heading)} follows level ${level}`);
      need(heading.textContent.trim() || named(heading), `an empty <${heading.localName}>`);
      level = own;
    }
    const counts = new Map();
    for (const { id } of all("[id]")) counts.set(id, (counts.get(id) || 0) + 1);
    for (const [id, count] of counts) need(count === 1, `${count} elements have the id ${id}`);
    for (const img of all("img")) {
      const silent = img.getAttribute("role") === "presentation" || img.closest("[aria-hidden=true]");
      need((img.getAttribute("alt") || "").trim() || silent, `${shorten(img.outerHTML)} has no alt text`);
      need(!img.complete || img.naturalWidth > 0, `${shorten(img.outerHTML)} does not load`);
    }
    for (const svg of all("svg:not(svg svg)").filter((svg) => !svg.closest("[aria-hidden=true]"))) {
      const title = [...svg.children].find((child) => child.localName === "title");
      need(svg.getAttribute("role") === "img", `${describe(svg)} is neither role=img nor aria-hidden`);
      need(named(svg) || title?.textContent.trim(), `${describe(svg)} has no label`);
    }
    for (const table of all("table:not([role=presentation])")) {
      need(table.caption?.textContent.trim() || named(table), `${describe(table)} has neither caption nor label`);
      need(table.querySelector("th"), `${describe(table)} has no header cells`);
      const bare = [...table.querySelectorAll("th")].filter((th) => !/^(col|row)(group)?$/.test(th.scope));
      for (const th of bare) problems.push(`${describe(th)} has no scope`);
      const buttons = table.querySelectorAll("th button").length;
      need(!table.matches(".sortable") || buttons, `${describe(table)} is sortable but has no buttons`);
    }
    for (const element of all("a[href], button, summary")) {
      const label = element.textContent.trim() || named(element) || element.querySelector("img[alt]")?.alt;
      need(label || element.title, `${shorten(element.outerHTML)} has no name`);
    }
    for (const field of all("input:not([type=hidden], [type=submit], [type=button]), select, textarea")) {
      need(field.labels?.length || named(field) || field.title, `${shorten(field.outerHTML)} has no label`);
    }
    return problems;
  };
  // Whatever an element names as a part of the page, loaded already or not: pictures further down may load late.
  const wanted = () =>
    all("link[href], [src], [srcset], object[data], video[poster], image[href], use[href]").flatMap((element) =>
      ["href", "src", "srcset", "data", "poster"]
        .map((name) => element.getAttribute(name))
        .filter((url) => url && !/^(data:|#)/.test(url)));
  const links = () => all("a[href]").map((a) => ({
    text: shorten(a.textContent) || a.href,
    url: a.href,
    here: a.getAttribute("href").startsWith("#"),
    found: a.hash.length < 2 || Boolean(document.getElementById(decodeURIComponent(a.hash.slice(1)))),
  }));

  // ---- tables ---------------------------------------------------------------------------------------------------
  const headerCells = (table) => [...(table.tHead?.rows[table.tHead.rows.length - 1] || table.rows[0]).cells];
  const bodyRows = (table) => [...table.tBodies].flatMap((body) => [...body.rows]).filter((row) => row.cells.length);
  const readTable = (table) => ({
    name: shorten(table.caption?.textContent || table.getAttribute("aria-label") || describe(table)),
    headers: headerCells(table).map((th) => ({
      text: th.innerText.trim(),
      sort: th.getAttribute("aria-sort") || "none",
      button: Boolean(th.querySelector("button")),
    })),
    rows: bodyRows(table).map((row) => [...row.cells].map((cell) => cell.innerText.trim())),
  });
  // A column is compared by data-value where one of its cells has one, else by its text. Missing values are null.
  const keys = (cells) => {
    const valued = cells.some((cell) => cell.dataset.value?.trim());
    return cells
      .map((cell) => ((valued && cell.dataset.value) ?? cell.textContent) || "")
      .map((value) => (/^(|nan|none|n\/a|[-–—])$/i.test(value.trim()) ? null : value.trim()));
  };
  const number = (value) => Number(value.replace(/^([+-]?)inf$/i, "$1Infinity"));
  // Text may be compared by code point or as a reader would; numbers must be compared as numbers.
  const unsorted = (table, column, direction) => {
    const values = keys(bodyRows(table).map((row) => row.cells[column]));
    const present = values.filter((value) => value !== null);
    if (values.slice(0, present.length).includes(null)) return "missing values do not come last";
    const sign = direction === "descending" ? -1 : 1;
    const numeric = present.every((value) => !Number.isNaN(number(value)));
    const orders = numeric
      ? [(a, b) => number(a) - number(b) || 0]
      : [
        (a, b) => (a < b ? -1 : +(a > b)),
        (a, b) => a.localeCompare(b),
        (a, b) => a.localeCompare(b, undefined, { numeric: true }),
        (a, b) => a.localeCompare(b, "en", { sensitivity: "base", numeric: true }),
      ];
    const sorted = (order) => present.every((value, i) => i === 0 || sign * order(present[i - 1], value) <= 0);
    return orders.some(sorted) ? null : `not ${direction}: ${present.slice(0, 8).join(", ")}`;
  };

  // ---- focus ----------------------------------------------------------------------------------------------------
  const look = (element) => {
    const style = getComputedStyle(element);
    return ["boxShadow", "borderColor", "borderWidth", "backgroundColor", "textDecoration"].map((n) => style[n]).join();
  };
  let targets = [];
  const listFocusable = () => {
    document.activeElement?.blur();
    document.documentElement.style.scrollBehavior = "auto"; // what comes into sight slowly isn't seen yet
    const selector = "a[href], button, summary, input, select, textarea, [tabindex]:not([tabindex^='-'])";
    targets = all(selector)
      .filter((e) => !e.disabled && e.checkVisibility({ checkVisibilityCSS: true }))
      .filter((e) => e.localName !== "summary" || e === e.parentElement.querySelector("summary"))
      .map((element) => ({ element, look: look(element), reached: false }));
    return targets.length;
  };
  // The faults of what has the focus now; null where nothing has it, or what has it has had it before.
  const focused = () => {
    const element = document.activeElement;
    if (!element || element === document.body || element === document.documentElement) return null;
    let target = targets.find((t) => t.element === element);
    if (target?.reached) return null;
    if (!target) targets.push((target = { element, look: null, reached: false })); // a container that scrolls
    target.reached = true;
    settle();
    const style = getComputedStyle(element);
    const outlined =
      style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0 && rgba(style.outlineColor)[3] > 0;
    const problems = [];
    if (!outlined && (target.look === null || look(element) === target.look)) {
      problems.push(`${describe(element)} does not show that it has the focus`);
    }
    const box = element.getBoundingClientRect();
    const inside = box.right > 0 && box.bottom > 0 && box.left < innerWidth && box.top < innerHeight;
    if (!inside || forReaders(element)) problems.push(`${describe(element)} has the focus but is out of sight`);
    return problems;
  };
  const unreached = () =>
    targets.filter((t) => !t.reached).map((t) => `${describe(t.element)} cannot be reached with the Tab key`);

  // ---- paper ----------------------------------------------------------------------------------------------------
  let onScreen = [];
  const noteShown = () => withOpenDetails(() => {
    onScreen = [...texts(), ...all("img, svg:not(svg svg), canvas")].filter(visible);
    return onScreen.length;
  });
  const lost = (unneeded) => onScreen
    .filter((node) => !visible(node))
    .filter((node) => !(unneeded && elementOf(node).closest(unneeded)))
    .map((node) => `not printed: ${node.localName ? describe(node) : `"${shorten(node.textContent)}"`}`);

  return {
    overflow, contrast, brightness, structure, wanted, links, readTable, unsorted, listFocusable, focused, unreached,
    noteShown, lost,
  };
})();
