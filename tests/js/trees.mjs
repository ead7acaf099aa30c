// Small trees for the tests of the board's pure functions.

export const row = (id, fields = {}) => {
  const dot = id.lastIndexOf(".");
  const parent = dot < 0 ? null : id.slice(0, dot);
  const empty = { params: 0, shape: "", madds: 0, unit: false, fold: "", note: "", kind: "Module" };
  return { id, parent, name: id.slice(dot + 1), ...empty, ...fields };
};

export const parameter = (id, params, fields = {}) => row(id, { params, unit: true, kind: "parameter", ...fields });

/** stem, five equal blocks of a convolution and an activation, a head with a bias; 9 parameters. */
export function blocks() {
  const rows = [parameter("token", 8), row("stem", { kind: "Conv2d", params: 10 }), parameter("stem.weight", 10)];
  for (let block = 0; block < 5; block++) {
    rows.push(row(`body.${block}`, { kind: "Block", parent: "body", params: 100, fold: block ? "same" : "first" }));
    rows.push(row(`body.${block}.conv`, { kind: "Conv2d", params: 100 }), parameter(`body.${block}.conv.weight`, 100));
    rows.push(row(`body.${block}.relu`, { kind: "ReLU" }));
  }
  rows.splice(3, 0, row("body", { kind: "Sequential", params: 500 }));
  rows.push(row("head", { kind: "Linear", params: 33 }), parameter("head.weight", 30), parameter("head.bias", 3));
  return rows;
}

