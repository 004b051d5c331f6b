"use strict";
// A rater's way through the study: who and which slot, start, an announcement before each axis, trials, end.
// Every vote is saved on the device at once; where a server took the study it is posted too, and queued meanwhile.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const url = new URLSearchParams(location.search);
  const byId = (id) => document.getElementById(id);
  const served = data.mode === "served";
  const RATER_ID = /^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}$/;
  const SETTLE_MS = 250; // a key held down or pressed twice is not the next answer
  const axes = Object.fromEntries(data.axes.map((axis) => [axis.name, axis]));
  let rater = null, trials = [], state = null, shownAt = null, announced = null, ready = false, canSave = true, sending = false;

  // ---- kept on the device
  const stored = (key) => { try { return localStorage.getItem(key); } catch { return null; } };
  function store(key, value) {
    try { localStorage.setItem(key, value); } catch { canSave = false; }
    if (!canSave) byId("warning").textContent = "This browser keeps nothing: do not close the page before you have downloaded your answers.";
  }
  const stateKey = () => `llm4gen-study:${data.study_id}:${rater}`;
  const lastKey = `llm4gen-study:${data.study_id}`;
  const save = () => store(stateKey(), JSON.stringify(state));
  function load() {
    try {
      const found = JSON.parse(stored(stateKey()));
      if (found && Array.isArray(found.votes) && (served || found.slot in data.slots)) return found;
    } catch { /* written by something else */ }
    return null;
  }

  // ---- who and which slot
  const fromUrl = ["PROLIFIC_PID", "workerId", "rater"].map((name) => url.get(name)).find((value) => value);
  const isPreview = url.get("assignmentId") === "ASSIGNMENT_ID_NOT_AVAILABLE";
  function hash(text) { // FNV-1a
    let value = 0x811c9dc5;
    for (const byte of new TextEncoder().encode(text)) value = Math.imul(value ^ byte, 0x01000193) >>> 0;
    return value;
  }
  function slotOf(id) {
    const slots = Object.keys(data.slots), asked = url.get("slot");
    if (asked !== null && !(asked in data.slots)) throw new Error(`There is no slot ${asked} in this study.`);
    return asked ?? slots[hash(data.study_id + id) % slots.length];
  }
  // Sets `trials` and `state`, from the device and, where there is one, the server: whoever has more answers is right.
  async function enter(id) {
    rater = id;
    const kept = load();
    if (!served) {
      state = kept ?? { slot: slotOf(id), votes: [], n_sent: 0 };
      trials = data.slots[state.slot];
      return;
    }
    const known = await post("api/slot", { rater_id: id });
    trials = known.trials;
    const goesOn = kept && kept.slot === known.slot && kept.votes.length > known.votes.length;
    state = { slot: known.slot, votes: goesOn ? kept.votes : known.votes, n_sent: known.votes.length };
  }

  // ---- the server
  async function post(path, body) {
    const answer = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    if (answer.ok) return answer.json();
    const told = await answer.json().catch(() => ({}));
    throw Object.assign(new Error(told.error || `The server answered ${answer.status}.`), { status: answer.status });
  }
  async function send() {
    if (!served || sending || !state) return;
    sending = true;
    try {
      while (state.n_sent < state.votes.length) {
        // 409: the server has another answer to it, from another window; the first counts
        await post("api/votes", state.votes[state.n_sent]).catch((error) => { if (error.status !== 409) throw error; });
        state.n_sent += 1;
        save();
        tell();
      }
      byId("warning").textContent = "";
    } catch (error) {
      // refused for good, or only not reached: then the next vote, the network's return or the clock tries again
      if (error.status >= 400 && error.status < 500 && error.status !== 429) byId("warning").textContent = `An answer was refused: ${error.message} Please tell the people who run the study.`;
      else setTimeout(send, 3000);
    }
    sending = false;
    tell();
    if (!state.ended && state.votes.length === trials.length && state.n_sent === state.votes.length) end();
  }
  addEventListener("online", send);

  // ---- what is on the screen
  function show(id) {
    for (const section of document.querySelectorAll("section")) section.hidden = section.id !== id;
    document.body.className = id;
    scrollTo(0, 0);
  }
  function tell() {
    const n = state.votes.length, waiting = n - state.n_sent;
    byId("bar").hidden = false;
    byId("progress").setAttribute("aria-valuemax", trials.length);
    byId("progress").setAttribute("aria-valuenow", n);
    byId("done").style.width = `${(100 * n) / trials.length}%`;
    byId("counter").textContent = `${n} of ${trials.length}`;
    byId("saved").textContent = !canSave ? "not saved" : !n ? "" : !served ? "saved on this device" : waiting ? `${waiting} waiting for the network` : "saved";
  }
  function preload(trial) {
    for (const name of trial ? [trial.left, trial.right] : []) new Image().src = data.images[name];
  }
  // The rest of the slot's pictures in the background, so that the next one does not wait for the network either.
  async function fetchAhead() {
    if (!location.protocol.startsWith("http") || data.mode === "embedded" || !state) return;
    for (const trial of trials.slice(state.votes.length)) {
      for (const name of [trial.left, trial.right].filter((one) => !data.images[one].startsWith("blob:"))) {
        try {
          const answer = await fetch(data.images[name]);
          if (answer.ok) data.images[name] = URL.createObjectURL(await answer.blob());
        } catch { return; }
      }
    }
  }
  addEventListener("online", fetchAhead);
  async function picture(id, name) {
    const button = byId(id), image = button.querySelector("img");
    button.classList.remove("chosen");
    button.classList.add("loading");
    image.src = data.images[name];
    await image.decode();
    button.classList.remove("loading");
  }
  // not "disabled", which would take the focus from whoever goes by Tab and Enter
  function takeAnswers(now) {
    ready = now;
    for (const id of ["left", "right", "tie"]) byId(id).setAttribute("aria-disabled", String(!now));
  }
  async function next() {
    takeAnswers(false);
    const n = state.votes.length, trial = trials[n];
    tell();
    if (!trial) return served && state.n_sent < n ? waitForServer() : end();
    const axis = axes[trial.axis];
    if (announced !== trial.axis) return announce(axis);
    show("trial");
    byId("question").textContent = axis.question;
    byId("prompt").hidden = trial.prompt === null;
    byId("prompt").textContent = trial.prompt ?? "";
    byId("prompt").scrollTop = 0;
    byId("prompt").tabIndex = byId("prompt").scrollHeight > byId("prompt").clientHeight + 1 ? 0 : -1;
    byId("trial").classList.toggle("with-prompt", trial.prompt !== null);
    byId("tie").hidden = !axis.tie;
    byId("tie").classList.remove("chosen");
    try {
      await Promise.all([picture("left", trial.left), picture("right", trial.right)]);
    } catch {
      byId("warning").textContent = "A picture did not load. Trying again.";
      return setTimeout(next, 3000);
    }
    if (byId("warning").textContent.startsWith("A picture")) byId("warning").textContent = "";
    if (document.activeElement === document.body) byId("main").focus({ preventScroll: true });
    byId("live").textContent = `${n + 1} of ${trials.length}. ${axis.question} ${trial.prompt ?? ""}`;
    shownAt = new Date();
    takeAnswers(true);
    preload(trials[n + 1]);
  }
  function announce(axis) {
    const part = data.axes.indexOf(axis) + 1;
    byId("part").textContent = data.axes.length > 1 ? `Part ${part} of ${data.axes.length}` : "";
    byId("part-question").textContent = axis.question;
    byId("part-help").textContent = axis.shows_prompt
      ? "Above the pictures stands the text that both were made from. Read it, then choose the picture that shows more of what it says."
      : "Only the pictures count: choose the one that you like better to look at.";
    show("between");
    byId("go").onclick = () => { announced = axis.name; next(); };
    byId("go").focus({ preventScroll: true });
    preload(trials[state.votes.length]);
  }
  function choose(choice) {
    const trial = trials[state.votes.length];
    const now = new Date();
    if (!ready || now - shownAt < SETTLE_MS || (choice === "tie" && !axes[trial.axis].tie)) return;
    takeAnswers(false);
    byId(choice).classList.add("chosen");
    state.votes.push({
      study_id: data.study_id, pair_id: trial.pair_id, trial_id: trial.trial_id, prompt_id: trial.prompt_id, axis: trial.axis,
      left_sha256: trial.left.split(".")[0], right_sha256: trial.right.split(".")[0], choice, rater_id: rater,
      shown_at: shownAt.toISOString(), answered_at: now.toISOString(), seed: data.seed, form_version: data.form_version,
    });
    save();
    send();
    setTimeout(next, 120);
  }

  // ---- the end
  function waitForServer() {
    show("end");
    byId("code-line").hidden = true;
    byId("end-text").textContent = "Your last answers wait for the network. Please keep this page open until they are sent.";
    downloadHelp();
    send();
  }
  function end() {
    state.ended = true;
    save();
    show("end");
    byId("end-text").textContent = `All ${trials.length} answers are ${served ? "stored" : "given"}.`;
    byId("code").textContent = data.completion_code;
    byId("code-line").hidden = false;
    if (url.get("PROLIFIC_PID")) {
      byId("prolific").href = `https://app.prolific.com/submissions/complete?cc=${encodeURIComponent(data.completion_code)}`;
      byId("prolific").hidden = false;
    }
    const host = url.get("turkSubmitTo"), form = byId("mturk");
    if (url.get("assignmentId") && ["https://www.mturk.com", "https://workersandbox.mturk.com"].includes(host)) {
      form.action = `${host}/mturk/externalSubmit`;
      form.elements.assignmentId.value = url.get("assignmentId");
      form.elements.votes.value = lines();
      form.elements.completion_code.value = data.completion_code;
      form.hidden = false;
    }
    downloadHelp();
    byId("main").focus({ preventScroll: true });
    byId("live").textContent = byId("end-text").textContent;
  }
  function downloadHelp() {
    byId("download-help").textContent = served ? "The server has them; the file is for your own records." : "Send the file to the people who run the study. It holds nothing but your answers and their times.";
    byId("download").classList.toggle("main", !served);
  }
  const lines = () => state.votes.map((vote) => `${JSON.stringify(vote)}\n`).join("");
  async function download() {
    const text = lines();
    const last = JSON.stringify({ n_votes: state.votes.length, sha256: await sha256(text) });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text, last, "\n"], { type: "application/x-ndjson" }));
    link.download = `votes-${data.study_id}-${rater}.jsonl`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }
  async function sha256(text) {
    const bytes = new TextEncoder().encode(text);
    // no crypto.subtle on a page that came by plain http from another machine
    if (!globalThis.crypto?.subtle) return sha256Slowly(bytes);
    return Array.from(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)), (b) => b.toString(16).padStart(2, "0")).join("");
  }
  function sha256Slowly(bytes) { // FIPS 180-4
    const root = (p, power) => { const f = p ** (1 / power); return Math.floor((f - Math.floor(f)) * 2 ** 32); };
    const primes = [];
    for (let n = 2; primes.length < 64; n++) if (primes.every((p) => n % p)) primes.push(n);
    const k = primes.map((p) => root(p, 3)), h = primes.slice(0, 8).map((p) => root(p, 2));
    const turn = (x, n) => (x >>> n) | (x << (32 - n));
    const padded = new Uint8Array(((bytes.length + 72) >> 6) << 6);
    padded.set(bytes);
    padded[bytes.length] = 0x80;
    const view = new DataView(padded.buffer);
    view.setUint32(padded.length - 8, Math.floor(bytes.length / 2 ** 29));
    view.setUint32(padded.length - 4, bytes.length << 3);
    for (let at = 0; at < padded.length; at += 64) {
      const w = Array.from({ length: 16 }, (_, i) => view.getUint32(at + 4 * i));
      for (let i = 16; i < 64; i++) {
        const a = w[i - 15], b = w[i - 2];
        w[i] = (w[i - 16] + w[i - 7] + (turn(a, 7) ^ turn(a, 18) ^ (a >>> 3)) + (turn(b, 17) ^ turn(b, 19) ^ (b >>> 10))) | 0;
      }
      const v = h.slice();
      for (let i = 0; i < 64; i++) {
        const [a, b, c, , e, f, g] = v;
        const one = (v[7] + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + k[i] + w[i]) | 0;
        const two = ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
        v.pop();
        v.unshift((one + two) | 0);
        v[4] = (v[4] + one) | 0;
      }
      v.forEach((x, i) => { h[i] = (h[i] + x) | 0; });
    }
    return h.map((x) => (x >>> 0).toString(16).padStart(8, "0")).join("");
  }

  // ---- begin
  async function begin(id) {
    byId("begin").disabled = true;
    try {
      await enter(id);
    } catch (error) {
      byId("rater-error").textContent = error.status || !served ? error.message : "The server cannot be reached. Please try again.";
      byId("begin").disabled = false;
      return;
    }
    store(lastKey, id);
    save();
    // whoever comes back in the middle of a part knows its question
    announced = state.votes.length && trials[state.votes.length]?.axis === state.votes.at(-1).axis ? state.votes.at(-1).axis : null;
    await next();
    send();
    fetchAhead();
  }
  byId("rater-form").onsubmit = (event) => {
    event.preventDefault();
    const id = (fromUrl ?? byId("rater").value).trim();
    byId("rater-error").textContent = RATER_ID.test(id) ? "" : "Please give a name of letters, digits and _ . @ - only, at most 64.";
    if (RATER_ID.test(id)) begin(id); else byId("rater").focus();
  };
  byId("left").onclick = () => choose("left");
  byId("right").onclick = () => choose("right");
  byId("tie").onclick = () => choose("tie");
  byId("download").onclick = download;
  byId("another").hidden = Boolean(fromUrl);
  byId("another").onclick = () => { store(lastKey, ""); location.reload(); };
  addEventListener("keydown", (event) => {
    const choice = { 1: "left", 2: "right", 0: "tie", ArrowLeft: "left", ArrowRight: "right", ArrowDown: "tie" }[event.key];
    if (byId("trial").hidden || !choice || event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.target === byId("prompt") && event.key === "ArrowDown") return; // scrolls a long prompt
    event.preventDefault();
    choose(choice);
  });
  addEventListener("beforeunload", (event) => {
    if (state && !canSave && !state.ended) event.preventDefault();
  });
  document.documentElement.style.setProperty("--ratio", data.width_px / data.height_px);
  document.documentElement.style.setProperty("--aspect", `${data.width_px} / ${data.height_px}`);
  byId("pictures").classList.toggle("pixelated", Math.max(data.width_px, data.height_px) <= 128);
  byId("total").textContent = data.n_trials;
  byId("tie-help").hidden = !data.axes.some((axis) => axis.tie);
  byId("rater-field").hidden = Boolean(fromUrl);
  byId("rater").value = stored(lastKey) ?? "";
  if (isPreview) {
    byId("rater-error").textContent = "This is a preview. Accept the HIT to begin.";
    byId("begin").disabled = true;
  }
  show("start");
  const known = fromUrl ?? stored(lastKey);
  if (!isPreview && known && RATER_ID.test(known)) {
    rater = known;
    if (load()) return begin(known); // a reload goes on by itself
  }
  byId(fromUrl ? "begin" : "rater").focus();
})();
