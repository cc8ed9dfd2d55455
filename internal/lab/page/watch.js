// Fetches the scene every second and puts in what has changed. Without this file the page reloads itself.

const main = document.querySelector("main");
const lost = document.getElementById("lost");
let pressed = false;

// Parts are replaced one by one, so that a button is never exchanged under a pointer, and what is read stays.
async function draw() {
	if (pressed) return;
	try {
		const answer = await fetch("/scene");
		if (!answer.ok) throw new Error(answer.statusText);
		const next = document.createElement("main");
		next.innerHTML = await answer.text();
		replace(main, next);
		mark();
		lost.hidden = true;
	} catch {
		lost.hidden = false;
	}
}

// parts are what is exchanged as a whole.
const parts = "#said, #playing, #traffic, article, #steps, #events, #broken, #mails";

function replace(have, want) {
	const fresh = [...want.querySelectorAll(parts)];
	if (have.querySelectorAll(parts).length !== fresh.length) {
		have.replaceChildren(...want.childNodes);
		return;
	}
	for (const part of fresh) {
		const old = document.getElementById(part.id);
		if (!old.isEqualNode(part)) swap(old, part);
	}
}

// swap exchanges a part, and leaves the focus where it was.
function swap(old, part) {
	const focus = old.contains(document.activeElement) ? document.activeElement.id : "";
	old.replaceWith(part);
	if (focus) (document.getElementById(focus) ?? part.querySelector("button"))?.focus({ preventScroll: true });
}

// A button that is at work is not disabled, which would take the focus from it; pressed again it does nothing.
const busy = new Set();

function mark() {
	for (const button of main.querySelectorAll("button")) {
		if (busy.has(button.id)) button.setAttribute("aria-disabled", "true");
		else button.removeAttribute("aria-disabled");
	}
}

main.addEventListener("submit", async (event) => {
	event.preventDefault();
	const id = event.submitter.id;
	if (busy.has(id)) return;
	busy.add(id);
	mark();
	try {
		const answer = await fetch(event.target.action, { method: "POST" });
		if (!answer.ok) alert(await answer.text());
	} finally {
		busy.delete(id);
		pressed = false;
		draw();
	}
});
addEventListener("pointerdown", () => (pressed = true));
addEventListener("pointerup", () => setTimeout(() => (pressed = false)));
addEventListener("pointercancel", () => (pressed = false));
setInterval(draw, 1000);
