// Opens timelines in Chromium and tries things: node timeline.mjs CHROMIUM MODULES (CHECK PAGE)...
// Ends with 0 if all work; says on stderr what does not. MODULES is the folder in which `just setup` has
// installed playwright-core.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [executablePath, modules, ...tries] = process.argv.slice(2);
const { chromium } = createRequire(resolve(modules, "package.json"))("playwright-core");
const WIDE = { width: 1400, height: 900 };

// Without the stroke.
const box = (page, selector) =>
  page.locator(selector).first().evaluate((element) => {
    const { x, y, width, height } = element.getBoundingClientRect();
    if (!element.getBBox || element.tagName === "svg") return { x, y, width, height };
    const own = element.getBBox(), place = element.getScreenCTM();
    return { x: own.x + place.e, y: own.y + place.f, width: own.width, height: own.height };
  });
const text = (page, selector) => page.locator(selector).first().textContent();
const press = async (page, key, times = 1) => {
  await page.focus("#stage");
  for (let i = 0; i < times; i++) await page.keyboard.press(key);
};
// The widest belief: a bar that says how far in, and where, the picture is.
const BAR = "#plot rect.k.b";
const middle = ({ x, y, width, height }) => [x + width / 2, y + height / 2];
const near = (one, other, what) => assert.ok(Math.abs(one - other) < 1.5, `${what}: ${one}, not ${other}`);
const background = (page) => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
const isInSight = async (page, selector) => {
  const [stage, own] = [await box(page, "#stage"), await box(page, selector)];
  return own.x >= stage.x && own.x + own.width <= stage.x + stage.width + 1;
};

const checks = {
  async shows(page) {
    assert.match(await text(page, "#sentence"), /^c1 believes it holds the lock until 412 ms/);
    assert.equal(await page.locator(BAR).count(), 1);
    const names = await page.locator("#timeline text.name").evaluateAll((all) => all.map((name) => name.firstChild.data));
    assert.deepEqual(names, ["faults", "c0", "c1", "n0", "n1", "n2"]);
    assert.ok(await page.locator("#plot rect.not").isVisible());
    assert.ok(await isInSight(page, "#flag .red"));
    assert.equal(await page.locator("#steps li").count(), 15);
    assert.equal(await page.locator("#steps li.bad").count(), 1);
    assert.equal(await page.locator("#how .legend li").count(), 13);
    assert.match(await text(page, "#replay"), /^redlatch-harness replay /);
    assert.ok((await page.locator("#ticks .tick").count()) >= 3);
  },

  async zooms(page) {
    const whole = await box(page, BAR);
    const [, y] = middle(whole);
    const x = whole.x + 20;
    await page.mouse.move(x, y);
    await page.mouse.wheel(0, -480);
    const zoomed = await box(page, BAR);
    near(zoomed.width, whole.width * 4, "two steps of the wheel double the width twice");
    near(x - zoomed.x, 80, "what is below the pointer stays there");
    await page.mouse.wheel(0, 480);
    near((await box(page, BAR)).width, whole.width, "the wheel goes back");
    for (const [far, back] of [["#in", "#out"], ["+", "-"]]) {
      const act = (what) => (what.startsWith("#") ? page.click(what) : press(page, what));
      await act(far);
      near((await box(page, BAR)).width, whole.width * 1.5, `${far} is half as much again`);
      await act(back);
      near((await box(page, BAR)).width, whole.width, `${back} goes back`);
    }
    for (const fit of ["#fit", "0", "f"]) {
      await page.click("#in");
      await (fit.startsWith("#") ? page.click(fit) : press(page, fit));
      const again = await box(page, BAR);
      near(again.width, whole.width, `${fit} shows all`);
      near(again.x, whole.x, `${fit} shows all`);
    }
    await page.click("#out");
    near((await box(page, BAR)).width, whole.width, "it does not become smaller than the stage");
    await page.mouse.dblclick(x, y);
    near((await box(page, BAR)).width, whole.width * 2, "a double click goes in");
    const sizes = await page.evaluate(() => [...document.querySelectorAll("#ticks .tick")].map((tick) => tick.textContent));
    assert.equal(new Set(sizes).size, sizes.length, "no two times are the same");
  },

  async pans(page) {
    await page.click("#in");
    await page.click("#in");
    const place = async () => (await box(page, BAR)).x;
    const before = await place();
    const [x, y] = middle(await box(page, "#stage"));
    await page.mouse.move(x, y);
    await page.mouse.down();
    await page.mouse.move(x - 60, y, { steps: 4 });
    await page.mouse.up();
    near(await place(), before - 60, "a drag moves it");
    await page.mouse.wheel(-60, 0);
    near(await place(), before, "the wheel moves it");
    await press(page, "ArrowRight");
    assert.ok((await place()) < before, "later things come into sight");
    await press(page, "ArrowLeft");
    near(await place(), before, "and go again");
    await page.click("#left");
    assert.ok((await place()) > before);
    await press(page, "ArrowLeft", 20);
    await page.click("#right");
    await press(page, "ArrowLeft", 20);
    const first = await place();
    await page.click("#left");
    near(await place(), first, "there is an end");
  },

  async themes(page) {
    await page.emulateMedia({ colorScheme: "light" });
    const light = await background(page);
    const lane = () => page.evaluate(() => getComputedStyle(document.querySelector(".lane")).fill);
    const lightLane = await lane();
    await page.click("#theme");
    const dark = await background(page);
    assert.notEqual(dark, light);
    assert.notEqual(await lane(), lightLane);
    await page.click("#theme");
    assert.equal(await background(page), light);
    await page.reload();
    await page.emulateMedia({ colorScheme: "dark" });
    assert.equal(await background(page), dark, "the system's wish counts");
    await page.click("#theme");
    assert.equal(await background(page), light, "unless something else is wished for");
  },

  async jumps(page) {
    for (const jump of [() => page.click("#jump"), () => press(page, "v")]) {
      await press(page, "+", 6);
      await press(page, "ArrowLeft", 60);
      assert.ok(!(await isInSight(page, "#flag .red")), "it is out of sight");
      await jump();
      assert.ok(await isInSight(page, "#flag .red"));
      const [list, step] = [await box(page, "#steps ol"), await box(page, "#steps li.bad")];
      assert.ok(step.y >= list.y - 1 && step.y + step.height <= list.y + list.height + 1, "and so is its step");
    }
  },

  async tells(page) {
    const things = await page.evaluate(() => {
      const all = [...document.querySelectorAll("#plot > *:not(.lb):not(.fl):not(.ql)")];
      const silent = all.filter((thing) => !thing.ariaLabel || thing.tabIndex !== -1);
      return [all.length, silent.map((thing) => thing.outerHTML)];
    });
    assert.ok(things[0] > 20);
    assert.deepEqual(things[1], [], "each thing has something to say");
    assert.ok(await page.locator("#tip").isHidden());
    await page.hover(BAR);
    assert.match(await text(page, "#tip"), /^c1 believes it holds the lock \(c1\.1\/1, fence 1790000000000501\): 22\.000 to 412\.000 ms/);
    assert.ok(await page.locator("#tip").isVisible());
    await page.mouse.move(2, 2);
    assert.ok(await page.locator("#tip").isHidden());
    // From thing to thing with the keyboard.
    const heard = [];
    await page.focus("#stage");
    for (let i = 0; i < 3; i++) {
      await page.keyboard.press("ArrowDown");
      assert.ok(await page.locator("#tip").isVisible());
      heard.push(await text(page, "#tip"));
      assert.equal(await page.evaluate(() => document.activeElement.ariaLabel), heard[i]);
    }
    assert.equal(new Set(heard).size, 3);
    await page.keyboard.press("ArrowUp");
    assert.equal(await text(page, "#tip"), heard[1]);
    await page.keyboard.press("Escape");
    assert.ok(await page.locator("#tip").isHidden());
  },

  async links(page) {
    const hot = (where) => page.locator(`${where} .hot`);
    assert.equal(await hot("#plot").count(), 0);
    const granted = page.locator("#steps li", { hasText: "is granted the lock" });
    await granted.hover();
    assert.ok((await hot("#plot").count()) >= 1, "a step shows its things");
    assert.ok((await page.locator(`${BAR}.hot`).count()) === 1);
    await page.mouse.move(2, 2);
    assert.equal(await hot("#plot").count(), 0);
    await page.hover(BAR);
    assert.match(await hot("#steps").first().textContent(), /is granted the lock/, "a thing shows its step");
    await page.mouse.move(2, 2);
    assert.equal(await hot("#steps").count(), 0);
    await granted.click();
    await page.mouse.move(2, 2);
    await page.evaluate(() => document.activeElement.blur());
    assert.equal(await hot("#steps").count(), 1, "a click keeps it");
    await granted.click();
    await page.mouse.move(2, 2);
    await page.evaluate(() => document.activeElement.blur());
    assert.equal(await hot("#steps").count(), 0, "and another lets it go");
    // Out of sight: the picture follows.
    await press(page, "+", 6);
    await press(page, "ArrowRight", 60);
    await page.locator("#steps li").first().click();
    assert.ok(await page.evaluate(() => document.querySelector(".cursor").getAttribute("x1") >= 0));
  },

  async fits(page) {
    for (const width of [1400, 1000, 700, 400]) {
      await page.setViewportSize({ width, height: 800 });
      await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      assert.ok(wide <= width, `a page ${width} wide is ${wide} wide`);
      const [stage, picture] = [await box(page, "#stage"), await box(page, "#timeline")];
      near(picture.width, stage.width, "the picture is as wide as its stage");
      assert.ok(await isInSight(page, "#flag .red"));
    }
  },

  async obeys(page) {
    assert.equal(await page.evaluate(() => window.evil), undefined);
    assert.match(await text(page, "#sentence"), /<script>window\.evil=1<\/script>/);
    assert.match(await text(page, "#replay"), /<img src=x onerror=evil\(\)>/);
    assert.equal(await page.locator("img").count(), 0);
  },

  async draws(page) {
    // Much, and whatever it is: without a complaint.
    assert.ok((await page.locator("#plot > *").count()) > 0);
    await page.click("#fit");
    await page.hover("#plot > *:not(.lb)", { force: true });
    await page.click("#in");
  },

  async confines(page) {
    const refused = await page.evaluate(async () => {
      const said = new Promise((done) => addEventListener("securitypolicyviolation", (event) => done(event.effectiveDirective), { once: true }));
      fetch("http://127.0.0.1:9/").catch(() => {});
      return said;
    });
    assert.equal(refused, "connect-src");
    return { complaints: true, asked: "http://127.0.0.1:9/" };
  },
};

async function attempt(browser, name, file) {
  const check = checks[name];
  assert.ok(check, "there is no such check");
  const page = await browser.newPage({ viewport: WIDE });
  const complaints = [], asked = [];
  page.on("console", (message) => complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("dialog", (dialog) => complaints.push(`dialog: ${dialog.message()}`));
  page.on("request", (request) => asked.push(request.url()));
  const url = pathToFileURL(file).href;
  await page.goto(url);
  const expected = (await check(page)) ?? {};
  if (!expected.complaints) assert.deepEqual(complaints, [], "the page complains");
  const elsewhere = asked.filter((asked) => asked !== url && asked !== expected.asked);
  assert.deepEqual(elsewhere, [], "the page asks for something else");
  await page.close();
}

assert.ok(tries.length > 0 && tries.length % 2 === 0, "checks and pages");
const browser = await chromium.launch({ executablePath, args: ["--disable-gpu", "--disable-quic"] });
try {
  for (let i = 0; i < tries.length; i += 2) {
    try {
      await attempt(browser, tries[i], tries[i + 1]);
    } catch (error) {
      console.error(`${tries[i]} on ${tries[i + 1]}: ${error.stack}`);
      process.exitCode = 1;
    }
  }
} finally {
  await browser.close();
}
