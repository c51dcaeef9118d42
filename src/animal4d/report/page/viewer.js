// Draws a glTF binary in WebGL2: one skin, one motion, an orbiting camera or that of the video, a shadow on the ground.
"use strict";

const COMPONENTS = { SCALAR: 1, VEC2: 2, VEC3: 3, VEC4: 4, MAT4: 16 };
const ARRAYS = {
  5120: Int8Array, 5121: Uint8Array, 5122: Int16Array, 5123: Uint16Array, 5125: Uint32Array, 5126: Float32Array,
};
const LARGEST = { 5120: 127, 5121: 255, 5122: 32767, 5123: 65535 };

/** The parts of a GLB file that the viewer needs. Raises Error in plain words on what it cannot read. */
class GltfAsset {
  constructor(bytes) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (bytes.byteLength < 20 || view.getUint32(0, true) !== 0x46546c67) throw new Error("the asset is not a GLB file");
    const length = view.getUint32(12, true);
    this.document = JSON.parse(new TextDecoder().decode(bytes.subarray(20, 20 + length)));
    this.binary = bytes.subarray(28 + length);
    this.nodes = this.document.nodes.map((node) => ({
      name: node.name || "",
      children: node.children || [],
      parent: -1,
      translation: node.translation || [0, 0, 0],
      rotation: node.rotation || [0, 0, 0, 1],
      scale: node.scale || [1, 1, 1],
      matrix: node.matrix || null,
      world: new Float32Array(16),
    }));
    this.nodes.forEach((node, index) => node.children.forEach((child) => (this.nodes[child].parent = index)));
    this.order = [];
    const visit = (index) => {
      this.order.push(index);
      this.nodes[index].children.forEach(visit);
    };
    this.nodes.forEach((node, index) => node.parent < 0 && visit(index));
    const skinned = this.document.nodes.find((node) => node.mesh !== undefined && node.skin !== undefined);
    if (!skinned) throw new Error("the asset holds no skinned mesh");
    this.mesh = this.document.meshes[skinned.mesh];
    const skin = this.document.skins[skinned.skin];
    this.joints = skin.joints;
    this.inverseBind = this.accessor(skin.inverseBindMatrices);
    this.jointMatrices = new Float32Array(16 * this.joints.length);
    const motion = (this.document.animations || [])[0];
    this.channels = motion ? motion.channels.map((channel) => this.channel(motion, channel)) : [];
    this.bones = this.findBones();
  }

  bufferView(index) {
    const view = this.document.bufferViews[index];
    const start = view.byteOffset || 0;
    return { bytes: this.binary.subarray(start, start + view.byteLength), stride: view.byteStride };
  }

  accessor(index, asFloats = true) {
    const accessor = this.document.accessors[index];
    if (accessor.sparse) throw new Error("the asset has sparse accessors, which this page cannot show");
    const width = COMPONENTS[accessor.type];
    const Kind = ARRAYS[accessor.componentType];
    const size = Kind.BYTES_PER_ELEMENT;
    const { bytes, stride = width * size } = this.bufferView(accessor.bufferView);
    const values = new Kind(accessor.count * width);
    const target = new Uint8Array(values.buffer);
    for (let row = 0; row < accessor.count; row++) {
      const start = (accessor.byteOffset || 0) + row * stride;
      target.set(bytes.subarray(start, start + width * size), row * width * size);
    }
    if (!asFloats || !accessor.normalized) return asFloats ? Float32Array.from(values) : values;
    return Float32Array.from(values, (value) => Math.max(value / LARGEST[accessor.componentType], -1));
  }

  channel(motion, channel) {
    const sampler = motion.samplers[channel.sampler];
    const values = this.accessor(sampler.output);
    const times = this.accessor(sampler.input);
    const cubic = sampler.interpolation === "CUBICSPLINE";
    return {
      node: channel.target.node,
      path: channel.target.path,
      times,
      values,
      width: values.length / times.length / (cubic ? 3 : 1),
      interpolation: sampler.interpolation || "LINEAR",
    };
  }

  /** Pairs of joint nodes for the picture of the skeleton: nodes that animate, or have the skin's joints below. */
  findBones() {
    const parts = new Set();
    for (const joint of this.joints) {
      const parent = this.nodes[joint].parent;
      const twin = parent >= 0 && this.nodes[joint].name === `${this.nodes[parent].name}_skin`;
      parts.add(twin ? parent : joint);
    }
    return [...parts].map((index) => {
      let above = this.nodes[index].parent;
      while (above >= 0 && !parts.has(above)) above = this.nodes[above].parent;
      return [above, index];
    });
  }

  /** Put all nodes where they are at a time in seconds. */
  pose(time) {
    for (const channel of this.channels) {
      this.nodes[channel.node][channel.path] = sampled(channel, time);
    }
    for (const index of this.order) {
      const node = this.nodes[index];
      const local = node.matrix || composed(node.translation, node.rotation, node.scale);
      node.world = node.parent < 0 ? Float32Array.from(local) : product(this.nodes[node.parent].world, local);
    }
    this.joints.forEach((joint, place) => {
      const bind = this.inverseBind.subarray(16 * place, 16 * place + 16);
      this.jointMatrices.set(product(this.nodes[joint].world, bind), 16 * place);
    });
  }

  place(node) {
    return this.nodes[node].world.slice(12, 15);
  }

  /** The image of the first material's colours as a Blob; null where the asset has vertex colours only. */
  baseColor() {
    const texture = this.material().baseColorTexture;
    if (!texture) return null;
    const image = this.document.images[this.document.textures[texture.index].source];
    return new Blob([this.bufferView(image.bufferView).bytes], { type: image.mimeType });
  }

  material() {
    const index = this.mesh.primitives[0].material;
    return (index === undefined ? {} : this.document.materials[index].pbrMetallicRoughness) || {};
  }
}

/** Index of the value nearest to a given one, the first of several. */
function nearestIndex(values, wanted) {
  let nearest = 0;
  for (let index = 1; index < values.length; index++) {
    if (Math.abs(values[index] - wanted) < Math.abs(values[nearest] - wanted)) nearest = index;
  }
  return nearest;
}

/** The keys before and after a time, the seconds between them, and how far the time is from the one to the other. */
function between(times, time) {
  let low = 0;
  let high = times.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (times[middle] <= time) low = middle;
    else high = middle;
  }
  const span = times[high] - times[low];
  const share = span > 0 ? Math.min(Math.max((time - times[low]) / span, 0), 1) : 0;
  return { low, high, span, share };
}

function sampled({ times, values, width, interpolation, path }, time) {
  const { low, high, span, share } = between(times, time);
  const cubic = interpolation === "CUBICSPLINE";
  const at = (key, part = 1) => {
    const start = cubic ? (3 * key + part) * width : key * width;
    return values.subarray(start, start + width);
  };
  if (interpolation === "STEP") return Array.from(at(share < 1 ? low : high));
  if (cubic) {
    const s2 = share * share;
    const s3 = s2 * share;
    const [before, leaving, after, arriving] = [at(low), at(low, 2), at(high), at(high, 0)];
    const result = Array.from(before, (value, axis) =>
      (2 * s3 - 3 * s2 + 1) * value + (s3 - 2 * s2 + share) * span * leaving[axis]
      + (3 * s2 - 2 * s3) * after[axis] + (s3 - s2) * span * arriving[axis]);
    return path === "rotation" ? unit(result) : result;
  }
  return path === "rotation" ? slerp(at(low), at(high), share) : Array.from(at(low), (v, i) => v + share * (at(high)[i] - v));
}

function unit(vector) {
  const length = Math.hypot(...vector) || 1;
  return Array.from(vector, (value) => value / length);
}

function slerp(a, b, share) {
  let cosine = a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3];
  const sign = cosine < 0 ? -1 : 1;
  cosine = Math.min(cosine * sign, 1);
  const angle = Math.acos(cosine);
  const sine = Math.sin(angle);
  const [first, second] = sine < 1e-5 ? [1 - share, share]
    : [Math.sin((1 - share) * angle) / sine, Math.sin(share * angle) / sine];
  return unit(Array.from(a, (value, axis) => first * value + second * sign * b[axis]));
}

/** Column-major matrix of translation, rotation (x, y, z, w) and scale. */
function composed([tx, ty, tz], [x, y, z, w], [sx, sy, sz]) {
  return [
    sx * (1 - 2 * (y * y + z * z)), sx * 2 * (x * y + z * w), sx * 2 * (x * z - y * w), 0,
    sy * 2 * (x * y - z * w), sy * (1 - 2 * (x * x + z * z)), sy * 2 * (y * z + x * w), 0,
    sz * 2 * (x * z + y * w), sz * 2 * (y * z - x * w), sz * (1 - 2 * (x * x + y * y)), 0,
    tx, ty, tz, 1,
  ];
}

function product(a, b) {
  const result = new Float32Array(16);
  for (let column = 0; column < 4; column++) {
    for (let row = 0; row < 4; row++) {
      let sum = 0;
      for (let k = 0; k < 4; k++) sum += a[4 * k + row] * b[4 * column + k];
      result[4 * column + row] = sum;
    }
  }
  return result;
}

function cross(a, b) {
  return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
}

function dot(a, b) {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

function lookAt(eye, target) {
  const back = unit(eye.map((value, axis) => value - target[axis]));
  const right = unit(cross([0, 1, 0], back));
  const up = cross(back, right);
  return Float32Array.of(
    right[0], up[0], back[0], 0, right[1], up[1], back[1], 0, right[2], up[2], back[2], 0,
    -dot(right, eye), -dot(up, eye), -dot(back, eye), 1,
  );
}

function perspective(fieldOfView, aspect, near, far) {
  const focal = 1 / Math.tan(fieldOfView / 2);
  const depth = near - far;
  return Float32Array.of(
    focal / aspect, 0, 0, 0, 0, focal, 0, 0, 0, 0, (far + near) / depth, -1, 0, 0, (2 * far * near) / depth, 0,
  );
}

const SKIN = `
  uniform highp sampler2D jointMatrices;
  in vec3 position; in vec3 normal; in vec4 color; in vec2 uv; in uvec4 joints; in vec4 weights;
  mat4 jointMatrix(uint joint) {
    int row = int(joint);
    return mat4(texelFetch(jointMatrices, ivec2(0, row), 0), texelFetch(jointMatrices, ivec2(1, row), 0),
                texelFetch(jointMatrices, ivec2(2, row), 0), texelFetch(jointMatrices, ivec2(3, row), 0));
  }
  mat4 skin() {
    return weights.x * jointMatrix(joints.x) + weights.y * jointMatrix(joints.y)
         + weights.z * jointMatrix(joints.z) + weights.w * jointMatrix(joints.w);
  }`;
const HEAD = "#version 300 es\nprecision highp float;\n";
const ANIMAL = [
  `${HEAD}${SKIN}
  uniform mat4 viewProjection;
  out vec3 worldNormal; out vec3 place; out vec4 tint; out vec2 texel;
  void main() {
    mat4 moved = skin();
    vec4 world = moved * vec4(position, 1.0);
    worldNormal = transpose(inverse(mat3(moved))) * normal;
    place = world.xyz; tint = color; texel = uv;
    gl_Position = viewProjection * world;
  }`,
  `${HEAD}
  uniform sampler2D picture; uniform vec3 eye; uniform vec3 light; uniform vec4 factor;
  uniform float clay; uniform float opacity;
  in vec3 worldNormal; in vec3 place; in vec4 tint; in vec2 texel;
  out vec4 result;
  void main() {
    vec3 n = normalize(worldNormal), toEye = normalize(eye - place);
    vec3 albedo = mix(texture(picture, texel).rgb * tint.rgb * factor.rgb, vec3(0.62, 0.60, 0.57), clay);
    float key = max(dot(n, light), 0.0), fill = max(dot(n, normalize(vec3(-light.x, 0.25, -light.z))), 0.0);
    float sky = 0.5 + 0.5 * n.y;
    float rim = pow(1.0 - max(dot(n, toEye), 0.0), 3.0);
    float shade = mix(0.50 + 0.34 * sky + 0.42 * key + 0.08 * fill, 0.24 + 0.34 * sky + 0.62 * key + 0.14 * fill, clay);
    vec3 lit = albedo * shade + rim * 0.05 * (0.3 + sky);
    lit = lit / (1.0 + max(lit - 0.8, 0.0));
    vec3 srgb = mix(12.92 * lit, 1.055 * pow(max(lit, 1e-5), vec3(1.0 / 2.4)) - 0.055, step(0.0031308, lit));
    result = vec4(srgb * opacity, opacity);
  }`,
];
const SHADOW = [
  `${HEAD}${SKIN}
  uniform vec3 center; uniform float reach; uniform vec3 light;
  out float height;
  void main() {
    vec4 world = skin() * vec4(position, 1.0);
    height = max(world.y, 0.0) / reach;
    vec2 flat_ = world.xz - 0.35 * world.y * light.xz / light.y;
    gl_Position = vec4((flat_ - center.xz) / reach, 0.0, 1.0);
  }`,
  `${HEAD} in float height; out vec4 result;
  void main() { result = vec4(exp(-14.0 * height), exp(-2.2 * height), 0.0, 1.0); }`,
];
const GROUND = [
  `${HEAD}
  uniform mat4 viewProjection; uniform vec3 center; uniform float reach;
  out vec2 offset; out vec2 spot;
  void main() {
    vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1) * 2.0 - 1.0;
    offset = corner; spot = center.xz + corner * reach;
    gl_Position = viewProjection * vec4(spot.x, 0.0, spot.y, 1.0);
  }`,
  `${HEAD}
  uniform sampler2D shadow; uniform vec3 ink; uniform float cell; uniform float strength;
  in vec2 offset; in vec2 spot;
  out vec4 result;
  float lines(vec2 at) {
    vec2 width = fwidth(at), far = abs(fract(at - 0.5) - 0.5) / width;
    return (1.0 - min(min(far.x, far.y), 1.0)) * clamp(1.5 - 4.0 * max(width.x, width.y), 0.0, 1.0);
  }
  void main() {
    float fade = smoothstep(1.0, 0.25, length(offset));
    vec2 at = 0.5 + 0.5 * offset;
    float contact = 0.0, soft = 0.0;
    for (int i = 0; i < 16; i++) {
      float turn = 2.399963 * float(i), far = sqrt((float(i) + 0.5) / 16.0);
      vec2 step_ = far * vec2(cos(turn), sin(turn));
      contact += textureLod(shadow, at + 0.010 * step_, 1.0).r / 16.0;
      soft += textureLod(shadow, at + 0.045 * step_, 3.0).g / 16.0;
    }
    float dark = clamp(0.34 * contact + 0.42 * soft, 0.0, 0.75) * strength * fade;
    float line = lines(spot / cell) * 0.20 * fade;
    float alpha = dark + line * (1.0 - dark);
    result = vec4(ink * line * (1.0 - dark), alpha);
  }`,
];
const FLAT = [
  `${HEAD} in vec2 position; in vec4 color; out vec4 tint;
  void main() { tint = color; gl_Position = vec4(position, 0.0, 1.0); }`,
  `${HEAD} in vec4 tint; out vec4 result; void main() { result = vec4(tint.rgb * tint.a, tint.a); }`,
];
const BACKDROP = [
  `${HEAD} out vec2 at;
  void main() {
    vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1);
    at = vec2(corner.x, 1.0 - corner.y); gl_Position = vec4(corner * 2.0 - 1.0, 0.0, 1.0);
  }`,
  `${HEAD} uniform sampler2D picture; in vec2 at; out vec4 result; void main() { result = texture(picture, at); }`,
];
const PLACES = { position: 0, normal: 1, color: 2, uv: 3, joints: 4, weights: 5 };
const SHADOW_SIDE = 512;
const FIELD_OF_VIEW = 0.5;

/** An asset on a canvas. `times`: seconds of the frames, over which the camera's path is smoothed. */
class AssetViewer {
  constructor(canvas, bytes, times, cameras) {
    this.canvas = canvas;
    this.gl = canvas.getContext("webgl2", { alpha: true, antialias: true, premultipliedAlpha: true, preserveDrawingBuffer: true });
    if (!this.gl) throw new Error("this browser offers no WebGL2");
    this.asset = new GltfAsset(bytes);
    this.times = times;
    this.cameras = cameras;
    this.options = { clay: false, skeleton: false, throughCamera: false, turning: true };
    this.yaw = 0.9;
    this.pitch = 0.2;
    this.zoom = 1;
    this.shift = [0, 0];
    this.dark = false;
    this.time = times[0];
    this.drawn = 0;
    this.measure();
    this.prepare();
    this.listen();
  }

  /** Where the camera looks at in every frame, and how large the animal is. */
  measure() {
    const tracks = this.times.map((time) => {
      this.asset.pose(time);
      const places = this.asset.bones.map(([, joint]) => this.asset.place(joint));
      const low = [0, 1, 2].map((axis) => Math.min(...places.map((place) => place[axis])));
      const high = [0, 1, 2].map((axis) => Math.max(...places.map((place) => place[axis])));
      return { middle: low.map((value, axis) => (value + high[axis]) / 2), low, high };
    });
    const window_ = Math.max(1, Math.round(this.times.length / 12));
    this.path = tracks.map((_, index) => {
      const near = tracks.slice(Math.max(0, index - window_), index + window_ + 1);
      return [0, 1, 2].map((axis) => near.reduce((sum, track) => sum + track.middle[axis], 0) / near.length);
    });
    const heights = tracks.map((track) => track.middle[1]).sort((a, b) => a - b);
    const height = heights[heights.length >> 1];
    this.path.forEach((place) => (place[1] = height));
    const sizes = tracks.map(({ low, high }) => Math.hypot(...high.map((value, axis) => value - low[axis])) / 2);
    this.radius = 1.12 * Math.max(...sizes);
    // The first view is three quarters from the front.
    this.asset.pose(this.times[0]);
    const root = this.asset.nodes[this.asset.bones[0][1]].world;
    this.heading = Math.atan2(root[8], root[10]);
  }

  prepare() {
    const gl = this.gl;
    this.programs = {
      animal: program(gl, ANIMAL), shadow: program(gl, SHADOW), ground: program(gl, GROUND), flat: program(gl, FLAT),
      backdrop: program(gl, BACKDROP),
    };
    this.primitives = this.asset.mesh.primitives.map((primitive) => this.upload(primitive));
    this.jointTexture = texture(gl, gl.NEAREST);
    this.picture = texture(gl, gl.LINEAR);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 1, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, Uint8Array.of(255, 255, 255, 255));
    this.backdrop = texture(gl, gl.LINEAR);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 1, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, Uint8Array.of(128, 128, 128, 255));
    this.shadowTexture = texture(gl, gl.LINEAR_MIPMAP_LINEAR);
    gl.texStorage2D(gl.TEXTURE_2D, 6, gl.RGBA8, SHADOW_SIDE, SHADOW_SIDE);
    this.shadowTarget = gl.createFramebuffer();
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.shadowTarget);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, this.shadowTexture, 0);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    this.lines = gl.createVertexArray();
    gl.bindVertexArray(this.lines);
    this.lineBuffer = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, this.lineBuffer);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 24, 0);
    gl.enableVertexAttribArray(2);
    gl.vertexAttribPointer(2, 4, gl.FLOAT, false, 24, 8);
    gl.bindVertexArray(null);
    this.nothing = gl.createVertexArray();
    this.ready = this.loadPicture();
  }

  async loadPicture() {
    const blob = this.asset.baseColor();
    if (!blob) return;
    const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
    const gl = this.gl;
    gl.bindTexture(gl.TEXTURE_2D, this.picture);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.SRGB8_ALPHA8, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
    gl.generateMipmap(gl.TEXTURE_2D);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR_MIPMAP_LINEAR);
    this.draw();
  }

  upload(primitive) {
    const gl = this.gl;
    const { POSITION, NORMAL, COLOR_0, TEXCOORD_0, JOINTS_0, WEIGHTS_0 } = primitive.attributes;
    const array = gl.createVertexArray();
    gl.bindVertexArray(array);
    const attribute = (place, index, missing) => {
      if (index === undefined) {
        gl.vertexAttrib4fv(place, missing);
        return;
      }
      const values = this.asset.accessor(index);
      gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
      gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
      gl.enableVertexAttribArray(place);
      gl.vertexAttribPointer(place, COMPONENTS[this.asset.document.accessors[index].type], gl.FLOAT, false, 0, 0);
    };
    attribute(PLACES.position, POSITION);
    attribute(PLACES.normal, NORMAL, [0, 1, 0, 0]);
    attribute(PLACES.color, COLOR_0, [1, 1, 1, 1]);
    attribute(PLACES.uv, TEXCOORD_0, [0, 0, 0, 0]);
    attribute(PLACES.weights, WEIGHTS_0);
    const joints = Uint16Array.from(this.asset.accessor(JOINTS_0, false));
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, joints, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(PLACES.joints);
    gl.vertexAttribIPointer(PLACES.joints, 4, gl.UNSIGNED_SHORT, 0, 0);
    const faces = Uint32Array.from(this.asset.accessor(primitive.indices, false));
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, faces, gl.STATIC_DRAW);
    gl.bindVertexArray(null);
    return { array, count: faces.length, hasColor: COLOR_0 !== undefined };
  }

  listen() {
    const pointers = new Map();
    const canvas = this.canvas;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, [event.clientX, event.clientY]);
      this.options.turning = false;
      canvas.dispatchEvent(new Event("touched"));
    });
    canvas.addEventListener("pointermove", (event) => {
      const before = pointers.get(event.pointerId);
      if (!before) return;
      const [dx, dy] = [event.clientX - before[0], event.clientY - before[1]];
      const apart = spread(pointers);
      pointers.set(event.pointerId, [event.clientX, event.clientY]);
      if (pointers.size > 1) this.scale(apart / Math.max(spread(pointers), 1));
      else if (event.shiftKey || event.buttons === 2) this.move(dx, dy);
      else this.turn(-dx * 0.008, dy * 0.008);
    });
    const release = (event) => pointers.delete(event.pointerId);
    canvas.addEventListener("pointerup", release);
    canvas.addEventListener("pointercancel", release);
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => {
      if (!event.ctrlKey && document.activeElement !== canvas) return; // the page scrolls on
      event.preventDefault();
      this.scale(Math.exp(event.deltaY * 0.0015));
    }, { passive: false });
    canvas.addEventListener("dblclick", () => this.reset());
  }

  turn(yaw, pitch) {
    this.yaw += yaw;
    this.pitch = Math.min(Math.max(this.pitch + pitch, -0.05), 1.5);
    this.draw();
  }

  move(dx, dy) {
    const step = (2 * this.distance() * Math.tan(FIELD_OF_VIEW / 2)) / this.canvas.clientHeight;
    this.shift = [this.shift[0] - dx * step, this.shift[1] + dy * step];
    this.draw();
  }

  scale(factor) {
    this.zoom = Math.min(Math.max(this.zoom * factor, 0.2), 4);
    this.draw();
  }

  reset() {
    [this.yaw, this.pitch, this.zoom, this.shift] = [0.9, 0.2, 1, [0, 0]];
    this.draw();
  }

  distance() {
    const aspect = Math.min(this.canvas.clientWidth / Math.max(this.canvas.clientHeight, 1), 1.25);
    return (this.zoom * this.radius * 0.92) / Math.sin(FIELD_OF_VIEW / 2) / Math.min(aspect, 1.15);
  }

  target() {
    const { low, high, share } = between(this.times, this.time);
    return this.path[low].map((value, axis) => value + share * (this.path[high][axis] - value));
  }

  /** Projection times view, and the place of the camera. */
  orbit() {
    const yaw = this.yaw + this.heading;
    const right = [Math.cos(yaw), 0, -Math.sin(yaw)];
    const target = this.target();
    const aim = [target[0] + right[0] * this.shift[0], target[1] + this.shift[1], target[2] + right[2] * this.shift[0]];
    const far = this.distance();
    const level = Math.cos(this.pitch) * far;
    const eye = [aim[0] + Math.sin(yaw) * level, aim[1] + Math.sin(this.pitch) * far, aim[2] + Math.cos(yaw) * level];
    const aspect = this.canvas.width / this.canvas.height;
    const projection = perspective(FIELD_OF_VIEW, aspect, far * 0.05, far * 20);
    return { matrix: product(projection, lookAt(eye, aim)), eye };
  }

  /** As the video's camera saw it: OpenCV's axes, intrinsics as shares of the picture's sides. */
  filmed(frame) {
    const { intrinsics: [fx, fy, cx, cy], worldToCamera } = this.cameras[frame];
    const view = new Float32Array(16);
    for (let row = 0; row < 4; row++) {
      const sign = row === 1 || row === 2 ? -1 : 1;
      for (let column = 0; column < 4; column++) view[4 * column + row] = sign * worldToCamera[row][column];
    }
    const [near, far] = [this.radius * 0.01, this.radius * 500];
    const projection = Float32Array.of(
      2 * fx, 0, 0, 0, 0, 2 * fy, 0, 0, 1 - 2 * cx, 2 * cy - 1, (far + near) / (near - far), -1,
      0, 0, (2 * far * near) / (near - far), 0,
    );
    const eye = [0, 1, 2].map((axis) => -[0, 1, 2].reduce((sum, row) => sum + worldToCamera[row][axis] * worldToCamera[row][3], 0));
    return { matrix: product(projection, view), eye };
  }

  frame() {
    return nearestIndex(this.times, this.time);
  }

  /** Show the asset at a time in seconds; `picture`: what the camera filmed, drawn behind it in the camera's view. */
  show(time, picture = null) {
    this.time = time;
    this.filmedPicture = picture;
    this.draw();
  }

  draw() {
    const gl = this.gl;
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const width = Math.max(Math.round(this.canvas.clientWidth * ratio), 1);
    const height = Math.max(Math.round(this.canvas.clientHeight * ratio), 1);
    if (this.canvas.width !== width || this.canvas.height !== height) [this.canvas.width, this.canvas.height] = [width, height];
    const through = this.options.throughCamera && this.cameras;
    // What the camera filmed are moments: between them there is no picture.
    this.asset.pose(through ? this.times[this.frame()] : this.time);
    gl.bindTexture(gl.TEXTURE_2D, this.jointTexture);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32F, 4, this.asset.joints.length, 0, gl.RGBA, gl.FLOAT, this.asset.jointMatrices);
    const camera = through ? this.filmed(this.frame()) : this.orbit();
    const center = this.target();
    const forward = unit(center.map((value, axis) => value - camera.eye[axis]));
    const right = unit(cross(forward, [0, 1, 0]));
    const light = unit([-0.5 * forward[0] - 0.6 * right[0], 1.0, -0.5 * forward[2] - 0.6 * right[2]]);
    if (!through) this.drawShadow(center, light);
    const side = Math.min(width, height);
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    if (through) gl.viewport((width - side) >> 1, (height - side) >> 1, side, side);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.disable(gl.DEPTH_TEST);
    if (through) this.drawBackdrop();
    else if (camera.eye[1] > 0) this.drawGround(camera, center);
    this.drawAnimal(camera, light, through ? 0.9 : 1);
    if (this.options.skeleton) this.drawSkeleton(camera, through ? side : width, through ? side : height, ratio);
    this.drawn++;
  }

  drawShadow(center, light) {
    const gl = this.gl;
    const used = this.programs.shadow;
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.shadowTarget);
    gl.viewport(0, 0, SHADOW_SIDE, SHADOW_SIDE);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.disable(gl.DEPTH_TEST);
    gl.disable(gl.CULL_FACE);
    gl.enable(gl.BLEND);
    gl.blendEquation(gl.MAX);
    gl.useProgram(used.program);
    gl.uniform1i(used.at("jointMatrices"), bind(gl, 0, this.jointTexture));
    gl.uniform3fv(used.at("center"), center);
    gl.uniform1f(used.at("reach"), this.groundReach());
    gl.uniform3fv(used.at("light"), light);
    this.drawPrimitives();
    gl.blendEquation(gl.FUNC_ADD);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.bindTexture(gl.TEXTURE_2D, this.shadowTexture);
    gl.generateMipmap(gl.TEXTURE_2D);
  }

  groundReach() {
    return 2.6 * this.radius;
  }

  drawGround(camera, center) {
    const gl = this.gl;
    const used = this.programs.ground;
    gl.useProgram(used.program);
    gl.uniformMatrix4fv(used.at("viewProjection"), false, camera.matrix);
    gl.uniform3fv(used.at("center"), center);
    gl.uniform1f(used.at("reach"), this.groundReach());
    gl.uniform1f(used.at("cell"), 0.5 * this.radius);
    gl.uniform1f(used.at("strength"), this.dark ? 1.25 : 1);
    gl.uniform3fv(used.at("ink"), this.dark ? [0.75, 0.75, 0.72] : [0.25, 0.24, 0.22]);
    gl.uniform1i(used.at("shadow"), bind(gl, 0, this.shadowTexture));
    gl.bindVertexArray(this.nothing);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
  }

  drawBackdrop() {
    const gl = this.gl;
    const used = this.programs.backdrop;
    if (this.filmedPicture) {
      gl.bindTexture(gl.TEXTURE_2D, this.backdrop);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, this.filmedPicture);
    }
    gl.useProgram(used.program);
    gl.uniform1i(used.at("picture"), bind(gl, 0, this.backdrop));
    gl.bindVertexArray(this.nothing);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
  }

  drawAnimal(camera, light, opacity) {
    const gl = this.gl;
    const used = this.programs.animal;
    gl.enable(gl.DEPTH_TEST);
    gl.enable(gl.CULL_FACE);
    gl.useProgram(used.program);
    gl.uniformMatrix4fv(used.at("viewProjection"), false, camera.matrix);
    gl.uniform1i(used.at("jointMatrices"), bind(gl, 0, this.jointTexture));
    gl.uniform1i(used.at("picture"), bind(gl, 1, this.picture));
    gl.uniform3fv(used.at("eye"), camera.eye);
    gl.uniform3fv(used.at("light"), light);
    gl.uniform4fv(used.at("factor"), this.asset.material().baseColorFactor || [1, 1, 1, 1]);
    gl.uniform1f(used.at("clay"), this.options.clay ? 1 : 0);
    gl.uniform1f(used.at("opacity"), this.options.skeleton ? 0.55 : opacity);
    this.drawPrimitives();
    gl.disable(gl.DEPTH_TEST);
    gl.disable(gl.CULL_FACE);
  }

  drawPrimitives() {
    const gl = this.gl;
    for (const { array, count, hasColor } of this.primitives) {
      gl.bindVertexArray(array);
      if (!hasColor) gl.vertexAttrib4f(PLACES.color, 1, 1, 1, 1);
      gl.drawElements(gl.TRIANGLES, count, gl.UNSIGNED_INT, 0);
    }
  }

  drawSkeleton(camera, width, height, ratio) {
    const gl = this.gl;
    const corners = [];
    const project = (joint) => {
      const place = [...this.asset.place(joint), 1];
      const clip = [0, 1, 3].map((row) => place.reduce((sum, value, k) => sum + camera.matrix[4 * k + row] * value, 0));
      return [clip[0] / clip[2], clip[1] / clip[2]];
    };
    const quad = (a, b, c, d, tint) => [a, b, c, c, b, d].forEach((corner) => corners.push(...corner, ...tint));
    for (const [above, joint] of this.asset.bones) {
      const end = project(joint);
      const name = this.asset.nodes[joint].name;
      const tint = name.includes("left") ? [0.09, 0.55, 0.85, 1] : name.includes("right") ? [0.93, 0.42, 0.18, 1] : [0.55, 0.5, 0.6, 1];
      if (above >= 0) {
        const start = project(above);
        const along = [(end[0] - start[0]) * width, (end[1] - start[1]) * height];
        const length = Math.hypot(...along) || 1;
        const aside = [(-along[1] / length) * 3 * ratio / width, (along[0] / length) * 3 * ratio / height];
        quad([start[0] + aside[0], start[1] + aside[1]], [start[0] - aside[0], start[1] - aside[1]],
          [end[0] + aside[0], end[1] + aside[1]], [end[0] - aside[0], end[1] - aside[1]], tint);
      }
      const [rx, ry] = [(7 * ratio) / width, (7 * ratio) / height];
      quad([end[0], end[1] + ry], [end[0] - rx, end[1]], [end[0] + rx, end[1]], [end[0], end[1] - ry], tint);
    }
    gl.bindVertexArray(this.lines);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.lineBuffer);
    gl.bufferData(gl.ARRAY_BUFFER, Float32Array.from(corners), gl.DYNAMIC_DRAW);
    gl.useProgram(this.programs.flat.program);
    gl.drawArrays(gl.TRIANGLES, 0, corners.length / 6);
  }
}

function spread(pointers) {
  const [a, b] = [...pointers.values()];
  return b ? Math.hypot(a[0] - b[0], a[1] - b[1]) : 1;
}

function bind(gl, unitNumber, used) {
  gl.activeTexture(gl.TEXTURE0 + unitNumber);
  gl.bindTexture(gl.TEXTURE_2D, used);
  gl.activeTexture(gl.TEXTURE0);
  return unitNumber;
}

function texture(gl, filter) {
  const made = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, made);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, filter);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, filter === gl.NEAREST ? gl.NEAREST : gl.LINEAR);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
  return made;
}

function program(gl, [vertexSource, fragmentSource]) {
  const made = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertexSource], [gl.FRAGMENT_SHADER, fragmentSource]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
    gl.attachShader(made, shader);
  }
  Object.entries(PLACES).forEach(([name, place]) => gl.bindAttribLocation(made, place, name));
  gl.linkProgram(made);
  if (!gl.getProgramParameter(made, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(made));
  const places = new Map();
  return {
    program: made,
    at: (name) => places.get(name) || places.set(name, gl.getUniformLocation(made, name)).get(name),
  };
}
