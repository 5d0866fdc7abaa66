// Loads a Llama-type model (GGUF file or Hugging Face folder), asks it a question, prints the answer as it comes.
#include <iostream>
#include <tmodel/tmodel.hpp>

using Model = tmodel::Transformer<tmodel::LlamaTraits, tmodel::CpuSimd<tmodel::f32>>;

int main(int argc, char** argv) {
  auto model = Model::load(argc > 1 ? argv[1] : "model.gguf");
  if (!model) return std::cerr << "error: " << model.error().message() << '\n', 2;
  auto chat = tmodel::chat(*model, {.max_tokens = 128});
  if (!chat) return std::cerr << "error: " << chat.error().message() << '\n', 2;
  const auto print = [](std::string_view text) { return bool(std::cout << text << std::flush); };
  auto answer = chat->ask(argc > 2 ? argv[2] : "Why is the sky blue?", {.on_text = print});
  if (!answer) return std::cerr << "error: " << answer.error().message() << '\n', 2;
  std::cout << '\n';
}
