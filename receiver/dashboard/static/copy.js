// "Copy" beside every value to paste.
document.querySelectorAll("[data-copy]").forEach((field) => {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Copy";
  button.setAttribute("aria-label", `Copy ${field.getAttribute("aria-label")}`);
  button.addEventListener("click", async () => {
    field.select();
    try {
      await navigator.clipboard.writeText(field.value);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Selected"; // no clipboard without https
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  field.addEventListener("focus", () => field.select());
  field.after(button);
});
