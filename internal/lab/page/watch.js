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
		lost.hidden = true;
	} catch {
		lost.hidden = false;
	}
}

// parts are what is exchanged as a whole.
const parts = "#said, #traffic, article, #events, #mails";

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

main.addEventListener("submit", async (event) => {
	event.preventDefault();
	const button = event.submitter;
	button.disabled = true;
	try {
		const answer = await fetch(event.target.action, { method: "POST" });
		if (!answer.ok) alert(await answer.text());
	} finally {
		button.disabled = false;
		pressed = false;
		draw();
	}
});
addEventListener("pointerdown", () => (pressed = true));
addEventListener("pointerup", () => setTimeout(() => (pressed = false)));
addEventListener("pointercancel", () => (pressed = false));
setInterval(draw, 1000);
