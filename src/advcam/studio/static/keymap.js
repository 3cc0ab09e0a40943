/**
 * All keys of the page: what each does, in the words of the help. Views lend what is to be run, by the name of the action.
 *
 * @typedef {{action: string, keys: string[], does: string, hidden?: boolean}} Row
 * @typedef {{title: string, rows: Row[]}} Group
 */

/** @type {Record<string, Group>} */
export const KEYMAP = {
  everywhere: { title: "Everywhere", rows: [
    { action: "help", keys: ["?"], does: "these keys" },
  ] },
  grid: { title: "All pictures", rows: [
    { action: "move", keys: ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"], does: "go from picture to picture" },
    { action: "enter", keys: ["Enter"], does: "open the picture in focus" },
    { action: "accept", keys: ["a"], does: "accept it" },
    { action: "reject", keys: ["r"], does: "reject it" },
    { action: "reopen", keys: ["u"], does: "take the verdict back" },
    { action: "masks", keys: ["m"], does: "masks on the cards, on and off" },
    { action: "search", keys: ["/"], does: "search by name" },
    { action: "leave", keys: ["Escape"], does: "leave the search", hidden: true },
  ] },
  picture: { title: "One picture", rows: [
    { action: "walk", keys: ["ArrowLeft", "ArrowRight"], does: "previous, next picture" },
    { action: "accept", keys: ["a"], does: "accept; what was painted is saved first" },
    { action: "reject", keys: ["r"], does: "reject" },
    { action: "reopen", keys: ["u"], does: "take the verdict back" },
    { action: "number", keys: ["1", "2", "3", "4", "5", "6", "7", "8", "9"], does: "map of one class alone; with the brush in hand, the class to paint" },
    { action: "escape", keys: ["Escape"], does: "brush away; then back to all pictures" },
  ] },
  look: { title: "Layers and zoom", rows: [
    { action: "layer", keys: [",", "."], does: "previous, next layer" },
    { action: "sides", keys: ["v"], does: "all layers side by side" },
    { action: "colours", keys: ["h"], does: "hide the colours, show them" },
    { action: "play", keys: [" "], does: "play the climb, stop it" },
    { action: "zoom", keys: ["+", "-"], does: "zoom (also the wheel; drag to move)" },
    { action: "fit", keys: ["f"], does: "fit the window" },
  ] },
  paint: { title: "Painting", rows: [
    { action: "brush", keys: ["b"], does: "brush; again: put it away" },
    { action: "eraser", keys: ["e"], does: "eraser: paints background" },
    { action: "undecided", keys: ["d"], does: "paint undecided (255)" },
    { action: "fill", keys: ["g"], does: "fill an area" },
    { action: "size", keys: ["[", "]"], does: "smaller, larger brush" },
    { action: "undo", keys: ["z"], does: "undo" },
    { action: "redo", keys: ["Shift+Z"], does: "redo" },
    { action: "save", keys: ["s"], does: "save the corrected mask" },
  ] },
  fresh: { title: "New picture", rows: [
    { action: "file", keys: ["o"], does: "choose a file" },
    { action: "back", keys: ["Escape"], does: "back to all pictures" },
  ] },
};
