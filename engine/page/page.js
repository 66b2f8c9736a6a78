// The slider over before and after. What is under it is replaced (the preview, then the full picture); where it stands, stays.
let at = 50;
const place = () => document.querySelectorAll(".hvr-stack").forEach((stack) => {
  stack.style.setProperty("--at", `${at}%`);
  stack.querySelector("input").value = at;
});
document.addEventListener("input", (event) => {
  if (event.target.matches(".hvr-stack input")) { at = event.target.value; place(); }
});
new MutationObserver(place).observe(document.body, { childList: true, subtree: true });
place();
