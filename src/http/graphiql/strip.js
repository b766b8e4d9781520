// The strip above the editor: who is signed in, sign in, sign out.
import { events, fetchEmail, signIn, signOut, token } from "./session.js";

const [strip, form, panel, email, button, status] = ["strip", "sign-in", "signed-in", "email", "sign-out", "status"].map(
  (id) => document.getElementById(id),
);

const say = (text) => (status.textContent = text);

function show() {
  const signedIn = token() !== null;
  if (panel.hidden === signedIn) {
    // Hiding an element drops its focus: pass it to the element that replaces it.
    const focused = strip.contains(document.activeElement);
    panel.hidden = !signedIn;
    form.hidden = signedIn;
    if (focused) (signedIn ? button : form.elements.email).focus();
  }
  email.textContent = "";
  if (signedIn) showEmail();
}

async function showEmail() {
  try {
    email.textContent = await fetchEmail();
  } catch (error) {
    // Otherwise the status says that the session has ended.
    if (token()) say(error.message);
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  say("Signing in ...");
  try {
    await signIn(form.elements.email.value, form.elements.password.value);
    form.reset();
  } catch (error) {
    say(error.message);
  }
});

button.addEventListener("click", () => signOut().catch((error) => say(error.message)));

events.addEventListener("change", ({ detail }) => {
  say(detail ?? "");
  show();
});
show();
