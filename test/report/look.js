/* Runs inside the page: what a reader would complain about. Returns lists of complaints. */
(() => {
  const complaints = { overflow: [], contrast: [], targets: [], names: [] };
  const name = node => {
    const short = n => n.tagName.toLowerCase() + (n.id ? "#" + n.id : n.classList && n.classList.length ? "." + [...n.classList].join(".") : "");
    return `${node.parentElement ? short(node.parentElement) + " > " : ""}${short(node)} "${(node.textContent || "").trim().slice(0, 30)}"`;
  };
  const shown = node => node.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true }) && node.getClientRects().length > 0 && !node.closest(".hidden, .skip");

  /* ---- nothing sticks out ---- */
  if (document.documentElement.scrollWidth > innerWidth) complaints.overflow.push(`the page is ${document.documentElement.scrollWidth} wide`);
  for (const node of document.querySelectorAll("body *")) {
    if (!shown(node) || node.closest("#tip")) continue;
    const box = node.getBoundingClientRect(), scroller = node.closest(".scroll, #chips, #files");
    if (!scroller && (box.right > innerWidth + 0.5 || box.left < -0.5)) complaints.overflow.push(`${name(node)} leaves the page: ${box.left} to ${box.right}`);
    const svg = node.closest("svg");
    if (svg && node.tagName === "text") {
      const frame = svg.getBoundingClientRect();
      if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.bottom > frame.bottom + 1) complaints.overflow.push(`${name(node)} leaves its chart`);
    }
    const clipped = getComputedStyle(node);
    if (clipped.overflowX === "hidden" && node.scrollWidth > node.clientWidth + 1 && clipped.textOverflow !== "ellipsis" && !svg && !node.classList.contains("bar"))
      complaints.overflow.push(`${name(node)} is cut off`);
  }

  /* ---- everything can be read ---- */
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  function color(text) {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  }
  const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  function background(node) {
    const layers = [];
    for (let n = node; n; n = n.parentElement) {
      const style = getComputedStyle(n);
      const gradient = /rgba?\([^)]*\)/.exec(style.backgroundImage);
      if (gradient && node.classList.contains("share")) layers.push(color(gradient[0]));
      layers.push(color(style.backgroundColor));
    }
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
  }
  const light = c => c < 0.04045 * 255 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4;
  const luminance = c => 0.2126 * light(c[0]) + 0.7152 * light(c[1]) + 0.0722 * light(c[2]);
  const ratio = (a, b) => { const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
  let texts = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || node.closest("script, style, title, #tip") || !shown(node)) continue;
    const style = getComputedStyle(node), svg = node.closest("svg");
    let behind = background(svg ? svg.parentElement : node);
    if (node.classList.contains("inside")) { /* a label on a slice, which is drawn just before it */
      const slice = node.previousElementSibling;
      behind = over(color(getComputedStyle(slice).fill), behind);
    }
    texts++;
    if (node.closest("button:disabled")) continue;
    const got = ratio(over(color(svg ? style.fill : style.color), behind), behind);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    if (got < (large ? 3 : 4.5)) complaints.contrast.push(`${name(node)} has ${got.toFixed(2)}`);
  }
  complaints.texts = texts;

  /* ---- everything can be hit and has a name ---- */
  for (const node of document.querySelectorAll("button, [tabindex='0']")) {
    if (!shown(node)) continue;
    const box = node.getBoundingClientRect();
    const inline = node.matches(".share, .name, th button, circle"); /* in a row of text, or a point of a chart */
    if (!inline && (box.width < 24 || box.height < 24)) complaints.targets.push(`${name(node)} is ${box.width} x ${box.height}`);
    if (!(node.getAttribute("aria-label") || node.textContent).trim()) {
      if (!node.closest("th")) complaints.names.push(name(node));
    }
  }
  return complaints;
})()
