// Films start when the reader says so: until then a page shows, and loads, only their last frames.
function addPlayButton(still) {
  const figure = still.closest("figure");
  const number = figure.querySelector(".caption-number")?.textContent.trim() ?? "";
  const button = document.createElement("button");
  const label = (verb) => (button.textContent = `${verb} film ${number}`);
  // Without scripts this markup is the film; with them it is text, and loads nothing.
  const markup = figure.querySelector("noscript").textContent;
  const unloaded = new DOMParser().parseFromString(markup, "text/html").querySelector("img");
  let film = null;

  button.type = "button";
  button.className = "play";
  label("Play");
  button.addEventListener("click", async () => {
    if (film?.isConnected) {
      film.replaceWith(still);
      label("Play");
      return;
    }
    film = document.importNode(unloaded);
    label("Loading");
    await film.decode().catch(() => null); // a film that cannot be had shows its words instead
    still.replaceWith(film);
    label("Stop");
  });
  figure.querySelector("figcaption").before(button);
}

// What scrolls sideways can be reached, and so scrolled, with the keyboard.
function addTabStops() {
  for (const box of document.querySelectorAll(".bd-article figure, .bd-article div.math")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}

// Pages of a folder on disk cannot read each other; results are then listed without excerpts.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("figure img.still").forEach(addPlayButton);
});
addEventListener("load", () => {
  addTabStops();
  addEventListener("resize", addTabStops);
});

// On paper nothing can be unfolded.
addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("details:not([open])")) {
    folded.open = true;
    folded.classList.add("unfolded");
  }
});
addEventListener("afterprint", () => {
  for (const one of document.querySelectorAll("details.unfolded")) {
    one.open = false;
    one.classList.remove("unfolded");
  }
});
