// What a page or an asset does in a real Chromium, as JSON: node browser.mjs (report PAGE | three ASSET | model-viewer ASSET) [PICTURE]
import chromium from "@sparticuz/chromium";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { chromium as playwright } from "playwright-core";

const [what, file, picture] = process.argv.slice(2);
const here = path.dirname(fileURLToPath(import.meta.url));
const modules = process.env.ANIMAL4D_NODE_MODULES || path.join(here, "node_modules");
const loud = [];
const outside = [];

function listen(page) {
  page.on("console", (message) => {
    // Reading pixels back, as we do here, is slow, and the browser says so.
    const ours = /GPU stall due to ReadPixels|readback operations using getImageData/.test(message.text());
    if (["error", "warning"].includes(message.type()) && !ours) loud.push(message.text());
  });
  page.on("pageerror", (error) => loud.push(String(error)));
  page.on("request", (request) =>
    /^(file:|data:|blob:|http:\/\/local\.test\/)/.test(request.url()) || outside.push(request.url()));
}

/** A page at http://local.test/ beside the asset and the packages. */
async function serve(page, html) {
  await page.route("http://local.test/**", (route) => {
    const name = new URL(route.request().url()).pathname;
    if (name === "/") return route.fulfill({ contentType: "text/html", body: html });
    if (name === "/asset.glb") return route.fulfill({ contentType: "model/gltf-binary", body: fs.readFileSync(file) });
    return route.fulfill({ contentType: "text/javascript", body: fs.readFileSync(path.join(modules, name)) });
  });
  await page.goto("http://local.test/", { timeout: 120000 });
}

async function report(browser) {
  const context = await browser.newContext({ viewport: { width: 900, height: 700 }, offline: true });
  const page = await context.newPage();
  listen(page);
  await page.goto(pathToFileURL(file).href, { timeout: 120000 });
  const look = () => page.evaluate(() => {
    const { gl } = runs[0].viewer || {};
    const canvas = runs[0].canvas;
    const sum = (bytes) => bytes.reduce((total, value, index) => (total + value * ((index % 251) + 1)) % 1000003, 0);
    const pixels = gl ? new Uint8Array(gl.drawingBufferWidth * gl.drawingBufferHeight * 4) : new Uint8Array(0);
    if (gl) gl.readPixels(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
    let opaque = 0;
    for (let index = 3; index < pixels.length; index += 4) opaque += pixels[index] === 255;
    return {
      frame: state.frame, playing: state.playing, scrub: Number(document.querySelector("#scrub").value),
      cursor: [...document.querySelectorAll(".cursor")].map((line) => Number(line.getAttribute("x1"))),
      asset: sum(pixels), covered: opaque / Math.max(pixels.length / 4, 1),
      pictures: sum(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data),
      glError: gl ? gl.getError() : 0, theme: document.documentElement.dataset.theme,
    };
  });
  const settle = () => page.waitForTimeout(250);
  const found = {};
  await page.waitForFunction(() => state.frame > 0, null, { timeout: 120000 });
  found.first = await look();
  found.played = await page.evaluate(() => new Promise((done) => {
    const frames = new Set();
    const watch = () => {
      frames.add(state.frame);
      if (frames.size >= 4) done([...frames]);
      else setTimeout(watch, 10);
    };
    watch();
  }));
  found.later = await look();
  await page.evaluate(() => (runs[0].viewer.options.turning = false));
  const seek = async (frame) => {
    await page.locator("#scrub").evaluate((scrub, value) => {
      scrub.value = value;
      scrub.dispatchEvent(new Event("input"));
    }, frame);
    await settle();
    return look();
  };
  found.start = await seek(0);
  found.sought = await seek(4);
  found.back = await seek(0);
  await page.locator(".plot[data-frames] svg").first().scrollIntoViewIfNeeded();
  const box = await page.locator(".plot[data-frames] svg").first().boundingBox();
  await page.mouse.click(box.x + box.width * 0.97, box.y + box.height / 2);
  await settle();
  found.plot = await look();
  await page.keyboard.press("ArrowLeft");
  found.key = await look();
  await page.evaluate(() => scrollTo(0, 0));
  const stage = await page.locator("canvas.asset").boundingBox();
  await page.mouse.move(stage.x + 200, stage.y + 150);
  await page.mouse.down();
  await page.mouse.move(stage.x + 320, stage.y + 150, { steps: 3 });
  await page.mouse.up();
  found.turned = await look();
  for (const tool of ["clay", "skeleton", "throughCamera"]) {
    await page.locator(`[data-tool="${tool}"]`).click();
    await settle();
    found[tool] = await look();
  }
  await page.locator("#theme").click();
  found.dark = await look();
  if (picture) await page.screenshot({ path: picture });
  await page.setViewportSize({ width: 390, height: 844 });
  await settle();
  found.phoneOverflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  found.unnamed = await page.evaluate(() => [...document.querySelectorAll("button, input, select, svg[role], canvas[role]")]
    .filter((node) => !(node.getAttribute("aria-label") || node.textContent.trim() || node.closest("label")))
    .map((node) => node.outerHTML.slice(0, 80)));
  return found;
}

/** Vertices in the world at three times, as three.js moves them, and what it draws. */
async function three(browser) {
  const page = await browser.newPage({ viewport: { width: 480, height: 360 } });
  listen(page);
  const html = `<!doctype html><link rel="icon" href="data:,"><script type="importmap">{"imports": {"three":
    "/three/build/three.module.js", "loader": "/three/examples/jsm/loaders/GLTFLoader.js"}}</script><canvas></canvas>`;
  await serve(page, html);
  const found = await page.evaluate(async () => {
    const THREE = await import("three");
    const { GLTFLoader } = await import("loader");
    const asset = await new GLTFLoader().loadAsync("/asset.glb");
    let mesh = null;
    asset.scene.traverse((node) => node.isSkinnedMesh && (mesh = node));
    const clip = asset.animations[0];
    const mixer = new THREE.AnimationMixer(asset.scene);
    mixer.clipAction(clip).play();
    const keys = clip.tracks[0].times;
    const times = [keys[0], (keys[0] + keys[keys.length - 1]) / 2, keys[keys.length - 1] - 1e-5];
    const place = new THREE.Vector3();
    const vertices = times.map((time) => {
      mixer.setTime(time);
      asset.scene.updateMatrixWorld(true);
      mesh.skeleton.update();
      return Array.from({ length: mesh.geometry.attributes.position.count }, (_, index) => {
        mesh.getVertexPosition(index, place).applyMatrix4(mesh.matrixWorld);
        return [place.x, place.y, place.z];
      });
    });
    const renderer = new THREE.WebGLRenderer({ canvas: document.querySelector("canvas"), preserveDrawingBuffer: true });
    renderer.setSize(480, 360);
    asset.scene.add(new THREE.HemisphereLight(0xffffff, 0x888888, 3));
    const camera = new THREE.PerspectiveCamera(40, 4 / 3, 0.01, 100);
    const box = new THREE.Box3().setFromPoints(vertices[2].map((vertex) => new THREE.Vector3(...vertex)));
    const middle = box.getCenter(new THREE.Vector3());
    const far = 1.6 * box.getSize(new THREE.Vector3()).length();
    camera.position.copy(middle).add(new THREE.Vector3(far * 0.8, far * 0.3, far * 0.5));
    camera.lookAt(middle);
    renderer.render(asset.scene, camera);
    const gl = renderer.getContext();
    const pixels = new Uint8Array(480 * 360 * 4);
    gl.readPixels(0, 0, 480, 360, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
    let drawn = 0;
    for (let index = 0; index < pixels.length; index += 4) drawn += pixels[index] + pixels[index + 1] + pixels[index + 2] > 30;
    return { times, vertices, drawn: drawn / (480 * 360), joints: mesh.skeleton.bones.length };
  });
  if (picture) await page.screenshot({ path: picture });
  return found;
}

/** The asset in <model-viewer>: what it finds in the file, times that its clock shows, pictures of two moments. */
async function modelViewer(browser) {
  const page = await browser.newPage({ viewport: { width: 480, height: 360 } });
  listen(page);
  const html = `<!doctype html><link rel="icon" href="data:,">
    <style>body { margin: 0 } model-viewer { width: 480px; height: 360px }</style>
    <model-viewer src="/asset.glb" camera-controls interaction-prompt="none" loading="eager"></model-viewer>
    <script type="module" src="/@google/model-viewer/dist/model-viewer.min.js"></script>`;
  await serve(page, html);
  await page.waitForFunction(() => document.querySelector("model-viewer").loaded, null, { timeout: 120000 });
  const found = await page.evaluate(async () => {
    const viewer = document.querySelector("model-viewer");
    const drawn = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    const at = async (time) => {
      viewer.currentTime = time;
      await drawn();
      const bitmap = await createImageBitmap(await viewer.toBlob());
      const canvas = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
      canvas.drawImage(bitmap, 0, 0);
      return canvas.getImageData(0, 0, bitmap.width, bitmap.height).data;
    };
    await viewer.updateComplete;
    viewer.play();
    viewer.pause();
    const [first, later] = [await at(0), await at(viewer.duration / 2)];
    let opaque = 0;
    let moved = 0;
    for (let index = 0; index < first.length; index += 4) {
      opaque += first[index + 3] > 200;
      moved += [0, 1, 2, 3].some((channel) => Math.abs(first[index + channel] - later[index + channel]) > 30);
    }
    viewer.play();
    const times = new Set();
    while (times.size < 4) {
      await drawn();
      times.add(viewer.currentTime);
    }
    return {
      animations: viewer.availableAnimations, duration: viewer.duration, playing: !viewer.paused, times: [...times],
      textures: viewer.model.materials.map(
        (material) => Boolean(material.pbrMetallicRoughness.baseColorTexture?.texture)),
      covered: (4 * opaque) / first.length, moved: (4 * moved) / first.length,
    };
  });
  if (picture) await page.screenshot({ path: picture });
  return found;
}

const browser = await playwright.launch({ executablePath: await chromium.executablePath(), args: chromium.args });
try {
  const found = await { report, three, "model-viewer": modelViewer }[what](browser);
  console.log(JSON.stringify({ ...found, loud, outside }));
} finally {
  await browser.close();
}
