// Faults, not taste: how lines are laid out is left to the hand.
import js from "@eslint/js";
import globals from "globals";

const faults = {
  "array-callback-return": "error",
  "consistent-return": "error",
  eqeqeq: "error",
  "no-eval": "error",
  "no-implicit-coercion": "error",
  "no-implied-eval": "error",
  "no-new-func": "error",
  "no-promise-executor-return": "error",
  "no-self-compare": "error",
  "no-shadow": "error",
  "no-unmodified-loop-condition": "error",
  "no-unused-expressions": "error",
  "no-use-before-define": ["error", { functions: false, classes: false, variables: false }],
  "no-var": "error",
  "prefer-const": "error",
};
// Text from a run must not become elements of the page.
const markup = ["innerHTML", "outerHTML", "insertAdjacentHTML"].map((name) => ({
  selector: `MemberExpression[property.name="${name}"]`,
  message: "Set textContent or append elements: names and texts of runs come from anybody.",
}));

export default [
  { linterOptions: { reportUnusedDisableDirectives: "error" } },
  js.configs.recommended,
  { rules: { ...faults, "no-restricted-syntax": ["error", ...markup] } },
  { files: ["dashboard/static/*.js"], languageOptions: { globals: globals.browser } },
  { files: ["dashboard/static/report.js"], languageOptions: { sourceType: "script" } },
  { files: ["tests/javascript/*.js"], languageOptions: { globals: globals.nodeBuiltin } },
];
