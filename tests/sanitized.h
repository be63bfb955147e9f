// Is this a build with sanitizers? Then everything takes many times as long, and a test of
// how much or how often does less.

#ifndef TESTS_SANITIZED_H
#define TESTS_SANITIZED_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) // gcc
#define IS_SANITIZED 1
#elif defined(__has_feature) // clang
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define IS_SANITIZED 1
#endif
#endif
#ifndef IS_SANITIZED
#define IS_SANITIZED 0
#endif

#endif // TESTS_SANITIZED_H
